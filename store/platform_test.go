package store_test

import (
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/store"
)

// platformContent has images p:TAG, and the layer of each platform.
func platformContent(t *testing.T) (c *content, tars map[string][]byte) {
	c, tars = newContent(), map[string][]byte{}
	img := func(platform string) ocispec.Descriptor {
		tars[platform] = tarball(t, platform, 100)
		return c.image(t, platform, gz(tars[platform]))
	}
	unlabelled := func(desc ocispec.Descriptor) ocispec.Descriptor {
		desc.Platform = nil
		return desc
	}
	attestation := unlabelled(img("unknown/unknown"))
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	amd64, arm64, i386 := img("linux/amd64"), img("linux/arm64/v8"), img("linux/386")
	v6, v7 := img("linux/arm/v6"), img("linux/arm/v7")
	windows := img("windows/amd64")
	signature := c.addJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Config: c.add("application/vnd.oci.empty.v1+json", []byte(`{}`)),
	})
	missing := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("not pushed"), Size: 10,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"},
	}
	deep := unlabelled(img("linux/amd64"))
	for range 6 {
		deep = c.index(t, deep)
	}
	for tag, desc := range map[string]ocispec.Descriptor{
		"multi":  c.index(t, attestation, i386, v6, windows, amd64, v7, arm64, missing),
		"arm":    c.index(t, v6, v7),
		"bare":   c.index(t, signature, unlabelled(arm64), unlabelled(amd64)),
		"nested": c.index(t, c.index(t, arm64), c.index(t, c.index(t, amd64))),
		"deep":   deep,
		"i386":   c.index(t, i386, attestation),
		"single": arm64,
	} {
		c.names["p:"+tag] = desc.Digest
	}
	return c, tars
}

func TestPlatforms(t *testing.T) {
	c, tars := platformContent(t)
	r := serve(t, c)
	s := open(t, t.TempDir(), store.Options{})
	for _, x := range []struct{ tag, platform, want string }{
		{"multi", "linux/amd64", "linux/amd64"},
		{"multi", "linux/arm64", "linux/arm64/v8"},
		{"multi", "linux/arm64/v8", "linux/arm64/v8"},
		{"multi", "linux/arm", "linux/arm/v7"},
		{"multi", "linux/arm/v6", "linux/arm/v6"},
		{"multi", "windows/amd64", "windows/amd64"},
		{"arm", "linux/arm/v7", "linux/arm/v7"},
		{"arm", "linux/arm/v8", "linux/arm/v7"},
		{"bare", "linux/amd64", "linux/amd64"},
		{"bare", "linux/arm64", "linux/arm64/v8"},
		{"nested", "linux/amd64", "linux/amd64"},
		{"nested", "linux/arm64", "linux/arm64/v8"},
		{"single", "linux/arm64", "linux/arm64/v8"},
	} {
		t.Run(x.tag+" "+x.platform, func(t *testing.T) {
			mustPull(t, s, r.host()+"/p:"+x.tag, x.platform, tars[x.want])
		})
	}
	for _, x := range []struct{ tag, platform, want string }{
		{"multi", "linux/riscv64", "no image for linux/riscv64, only for: linux/386, linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/s390x, windows/amd64"},
		{"bare", "linux/riscv64", "no image for linux/riscv64, only for: linux/amd64, linux/arm64/v8"},
		{"multi", "linux/s390x", "not found in registry " + r.host() + " (404)"},
		{"i386", "linux/amd64", "no image for linux/amd64, only for: linux/386"},
		{"deep", "linux/amd64", "indexes in indexes, too deep"},
		{"single", "linux/amd64", "is for linux/arm64/v8 only, not for linux/amd64"},
	} {
		t.Run(x.tag+" "+x.platform, func(t *testing.T) {
			mustFail(t, s, r.host()+"/p:"+x.tag, x.platform, r.host()+"/p:"+x.tag+": "+x.want)
		})
	}
}
