package formats

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lkx-os/lkx/exporters/gcp"
	"github.com/lkx-os/lkx/exporters/gpt"
	"github.com/lkx-os/lkx/exporters/ociarchive"
	"github.com/lkx-os/lkx/exporters/ova"
	"github.com/lkx-os/lkx/exporters/qcow2"
	"github.com/lkx-os/lkx/exporters/tarball"
	"github.com/lkx-os/lkx/exporters/vhd"
	"github.com/lkx-os/lkx/exporters/vhdx"
	"github.com/lkx-os/lkx/exporters/vmdk"
	"github.com/lkx-os/lkx/internal/sparse"
)

// wrapped writes a disk as the image that wrap makes of it. wrap is given an
// identifier that is the disk's own.
func wrapped(with firmware, suffix string, wrap func(disk *sparse.File, in Input, id [16]byte) (*sparse.File, error)) write {
	return func(_ context.Context, in Input, out *os.Root) error {
		d, err := disk(in, with, partAlign)
		if err != nil {
			return err
		}
		image, err := wrap(d.image, in, gpt.NewGUID(d.id, suffix))
		if err != nil {
			return err
		}
		return in.save(out, in.Base+suffix, image)
	}
}

// rawDisk writes a disk as it is.
func rawDisk(with firmware, suffix string) write {
	return wrapped(with, suffix, func(disk *sparse.File, _ Input, _ [16]byte) (*sparse.File, error) { return disk, nil })
}

func qcow2Disk(with firmware, suffix string) write {
	return wrapped(with, suffix, func(disk *sparse.File, _ Input, _ [16]byte) (*sparse.File, error) { return qcow2.New(disk) })
}

func fixedVHD(disk *sparse.File, in Input, id [16]byte) (*sparse.File, error) {
	return vhd.Fixed(disk, vhd.Options{UUID: id, Epoch: in.Epoch})
}

func dynamicVHD(disk *sparse.File, in Input, id [16]byte) (*sparse.File, error) {
	return vhd.Dynamic(disk, vhd.Options{UUID: id, Epoch: in.Epoch})
}

func newerVHD(disk *sparse.File, _ Input, id [16]byte) (*sparse.File, error) {
	own := func(name string) [16]byte { return gpt.NewGUID(id[:], name) }
	return vhdx.New(disk, vhdx.Options{FileWrite: own("file"), DataWrite: own("data"), Page83: own("page 83")})
}

// vmwareDisk writes a stream-optimized VMDK.
func vmwareDisk(ctx context.Context, in Input, out *os.Root) error {
	d, err := disk(in, both, partAlign)
	if err != nil {
		return err
	}
	name := in.Base + ".vmdk"
	return create(out, name, func(w *os.File) error {
		_, err := vmdk.Write(ctx, w, d.image, vmdk.Options{LongID: gpt.NewGUID(d.id, "vmdk"), Name: name})
		return err
	})
}

// A machine of an OVA has the least that a small system is comfortable with;
// who imports it changes that.
const (
	ovaCPUs      = 2
	ovaMemoryMiB = 1024
)

// appliance writes an OVA. Its disk is made first, in a file that does not stay:
// what stands before it in the archive has its digest.
func appliance(ctx context.Context, in Input, out *os.Root) error {
	d, err := disk(in, both, partAlign)
	if err != nil {
		return err
	}
	const scratch = ".ova.vmdk"
	defer out.Remove(scratch)
	err = create(out, scratch, func(w *os.File) error {
		_, err := vmdk.Write(ctx, w, d.image, vmdk.Options{LongID: gpt.NewGUID(d.id, "ova"), Name: in.Base + "-disk1.vmdk"})
		return err
	})
	if err != nil {
		return err
	}
	image, err := out.Open(scratch)
	if err != nil {
		return err
	}
	defer image.Close()
	return create(out, in.Base+".ova", func(w *os.File) error {
		return ova.Write(w, image, ova.Options{
			Name: in.Base, CPUs: ovaCPUs, MemoryMiB: ovaMemoryMiB, Firmware: "efi", Network: true, Epoch: in.Epoch,
		})
	})
}

// containerImage writes the system, with what boots it, as a container image. Its
// layer is made first, in a file that does not stay: the image names its digest.
func containerImage(suffix string) write {
	return func(_ context.Context, in Input, out *os.Root) error {
		all, err := wholeSystem(in)
		if err != nil {
			return err
		}
		const scratch = ".image.layer"
		defer out.Remove(scratch)
		sum := sha256.New()
		err = create(out, scratch, func(w *os.File) error {
			return tarball.Write(io.MultiWriter(w, sum), all, in.Epoch)
		})
		if err != nil {
			return err
		}
		layer, err := out.Open(scratch)
		if err != nil {
			return err
		}
		defer layer.Close()
		info, err := layer.Stat()
		if err != nil {
			return err
		}
		return create(out, in.Base+suffix, func(w *os.File) error {
			return ociarchive.Write(w, layer, ociarchive.Options{
				Name: strings.ToLower(in.Base) + ":latest", Arch: in.Arch, Entrypoint: []string{"/init"},
				Layer: digest.NewDigest(digest.SHA256, sum), Size: info.Size(), Epoch: in.Epoch,
			})
		})
	}
}

// googleImage writes a disk, of whole GiB, in the archive that Compute Engine takes.
func googleImage(_ context.Context, in Input, out *os.Root) error {
	d, err := disk(in, both, gcp.Size(1))
	if err != nil {
		return err
	}
	return create(out, in.Base+".img.tar.gz", func(w *os.File) error {
		return gcp.Write(w, d.image, gcp.Options{Epoch: in.Epoch})
	})
}
