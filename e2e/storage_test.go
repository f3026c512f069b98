package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// blank makes a disk with nothing on it, and is the value of --disk for it.
func blank(t *testing.T, size string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk.img")
	ok(t, "truncate", "-s", size, file)
	return file + ",format=raw"
}

// onboot is a container of a manifest.
func onboot(name, image string, command ...string) string {
	return fmt.Sprintf("  - name: %s\n    image: ghcr.io/lkx-os/%s:0.1\n    command: [\"%s\"]\n", name, image, strings.Join(command, `", "`))
}

// disksManifest is of a system that uses four disks, and counts its boots on two.
func disksManifest() string {
	return fmt.Sprintf(bootHead, "") + "onboot:\n" +
		onboot("sysctl", "sysctl", "/usr/bin/sysctl") +
		onboot("modules", "modprobe", "modprobe", "-a", "zram", "dummy") +
		onboot("nomodule", "modprobe", "modprobe", "no-such-module") +
		onboot("format", "format", "/usr/bin/format") +
		onboot("mount", "mount", "/usr/bin/mountie", "-timeout", "1s", "LABEL=data", "/var/lib/data") +
		onboot("open", "dm-crypt", "/usr/bin/crypto", "-timeout", "1s", "-luks", "-format", "secret") +
		onboot("inside", "format", "/usr/bin/format", "-timeout", "1s", "-type", "xfs", "-label", "secret", "/dev/mapper/secret") +
		onboot("mount2", "mount", "/usr/bin/mountie", "-timeout", "1s", "-label", "secret", "/var/lib/secret") +
		onboot("outside", "mount", "/usr/bin/mountie", "-timeout", "1s", "LABEL=data", "/mnt") +
		onboot("random", "dm-crypt", "/usr/bin/crypto", "-timeout", "1s", "-k", "/dev/urandom", "random", "/dev/vdc") +
		onboot("plain", "dm-crypt", "/usr/bin/crypto", "-timeout", "1s", "-format", "plain", "/dev/vdd") +
		onboot("wrong", "dm-crypt", "/usr/bin/crypto", "-timeout", "1s", "wrong", "/dev/vdb") +
		onboot("swap1", "swap", "/usr/bin/swap", "-timeout", "1s", "-device", "/dev/mapper/random") +
		onboot("swap2", "swap", "/swap.sh", "--path", "/var/lib/data/swap", "--size", "32M", "--condition", "part:/var/lib/data") +
		onboot("swap3", "swap", "/usr/bin/swap", "-zram", "32M") + `
services:
  - name: counter
    image: ghcr.io/lkx-os/busybox:0.1
    binds: ["/var/lib:/data", "/dev:/dev"]
    command:
      - sh
      - -c
      - |
        cat /proc/swaps /proc/sys/kernel/kptr_restrict
        test -d /sys/module/dummy && echo dummy is loaded
        for i in data secret; do echo x >>/data/$i/boots; done
        sync
        echo "boots: $(wc -l </data/data/boots) and $(wc -l </data/secret/boots)"
files:
  - path: etc/dm-crypt/key
    contents: abcdefghijklmnopqrstuvwxyz123456
`
}

// TestDisks boots a system that makes file systems and swap on disks, and boots
// it again with these disks, and with a disk of someone else's.
func TestDisks(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, write(t, "disks.yml", disksManifest()))
	system := filepath.Join(out, "disks")
	run := func(args ...string) string {
		console := guest(t, e, append(append(args, "--append", "lkx.onboot=continue"), system)...)
		t.Logf("the console:\n%s", console)
		return strings.ReplaceAll(console, "\r", "")
	}
	data, secret, random, plain := blank(t, "256M"), blank(t, "512M"), blank(t, "64M"), blank(t, "16M")
	disks := []string{"--disk", data, "--disk", secret, "--disk", random, "--disk", plain}

	first := run(append(disks, "--expect", "boots: 1 and 1")...)
	contains(t, first,
		"format: /dev/vda1, 254 MiB: made ext4, LABEL=data", "on /var/lib/data",
		"dm-crypt: /dev/vdb, 512 MiB: made LUKS, LABEL=secret", "/dev/mapper/secret is /dev/vdb, opened",
		"format: /dev/mapper/secret, 496 MiB: made xfs, LABEL=secret", "on /var/lib/secret",
		"dm-crypt: /dev/mapper/random is /dev/vdc, opened",
		"dm-crypt: /dev/mapper/plain is /dev/vdd, opened", "dm-crypt: this is not encrypted without a header, but has data, and is left alone: /dev/vdb",
		"swap: on: /dev/mapper/random", "swap: on: /var/lib/data/swap", "swap: on: /dev/zram0",
		"[counter] /zram0 ", "[counter] /swap ", "[counter] /mapper/random",
		"[counter] dummy is loaded", "modprobe: the kernel has no module no-such-module",
		"[counter] 2\n", // kptr_restrict
		`mount: a mount on /mnt would not leave this container, which shares nothing of the system at /mnt: add "/mnt:/mnt:rshared,rbind"`,
	)
	again := run(append(disks, "--expect", "boots: 2 and 2")...)
	contains(t, again, "LABEL=data", "it has its file system, and is left alone")
	for _, text := range []string{": made ", "faults"} {
		if strings.Contains(again, text) {
			t.Errorf("the second boot says %q", text)
		}
	}

	precious, noise := theirs(t)
	before := []string{sum(t, precious), sum(t, noise)}
	other := run("--disk", precious+",format=raw", "--disk", noise+",format=raw", "--expect", "lkx: 1 service running")
	contains(t, other,
		"format: no empty disk; there are:", "not empty: /dev/vda, 64 MiB: ext4, LABEL=precious",
		"not empty: /dev/vdb, 2 MiB: data of an unknown kind", "dm-crypt: /dev/vdb has been written, but the key /etc/dm-crypt/key opens nothing",
		"mount: no LABEL=data after 1s; there are:",
		"dm-crypt: no LUKS with LABEL=secret, and no empty disk; there are:",
		"swap: none: /var/lib/data: no such file or directory", "swap: on: /dev/zram0",
	)
	if sum(t, precious) != before[0] || sum(t, noise) != before[1] {
		t.Error("a disk of someone else's was written")
	}
}

// theirs are disks with a file system, and with what nobody knows.
func theirs(t *testing.T) (precious, noise string) {
	t.Helper()
	dir := t.TempDir()
	precious, noise = filepath.Join(dir, "precious"), filepath.Join(dir, "noise")
	ok(t, "truncate", "-s", "64M", precious)
	ok(t, "/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "precious", precious)
	text := make([]byte, 2<<20)
	rand.Read(text)
	if err := os.WriteFile(noise, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return precious, noise
}

func sum(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// TestFormatBootDisk has a system make a partition of what is free on a disk of
// lkx. It is not booted from that disk, which lkx run would not have written.
func TestFormatBootDisk(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	manifest := fmt.Sprintf(bootHead, "") + "onboot:\n" + onboot("format", "format", "/usr/bin/format", "-free") +
		onboot("mount", "mount", "/usr/bin/mountie", "/var/lib/data") // the first that there is
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images,
		"-f", "kernel+initrd,raw-bios", "--size", "512M", "-o", out, write(t, "os.yml", manifest))
	disk := filepath.Join(out, "os-bios.img")
	for _, want := range []string{"made ext4, LABEL=data", "left alone"} {
		console := guest(t, e, "--disk", disk+",format=raw", "--expect", "0 services running", filepath.Join(out, "os"))
		contains(t, console, want, "is on /var/lib/data")
	}
	if out := ok(t, "sgdisk", "-v", disk); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
}

const cloudConfig = `#cloud-config
hostname: from-cidata
ssh_authorized_keys: [ssh-ed25519 AAAA user]
packages: [vim]
write_files:
  - path: /run/config/extra/file
    permissions: "0640"
    content: written by cloud-config
`

// clouds are servers of metadata, as a guest finds them on the host. Amazon's
// wants the token that it gave (IMDSv2), Google's the flavour.
func clouds() http.Handler {
	mux := http.NewServeMux()
	say := func(pattern, text string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h := r.Header
			switch {
			case r.Method == http.MethodPut && h.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "",
				strings.HasPrefix(r.URL.Path, "/latest/") && r.Method == http.MethodGet && h.Get("X-Aws-Ec2-Metadata-Token") != "token",
				strings.HasPrefix(r.URL.Path, "/computeMetadata/") && h.Get("Metadata-Flavor") != "Google":
				http.Error(w, "who asks?", http.StatusUnauthorized)
				return
			}
			w.Header().Set("Metadata-Flavor", "Google")
			fmt.Fprint(w, text)
		})
	}
	say("PUT /latest/api/token", "token")
	say("/latest/meta-data/instance-id", "i-1234")
	say("/latest/meta-data/hostname", "from-aws")
	say("/latest/user-data", `{"app": {"entries": {"setting": {"perm": "0600", "content": "from aws"}}}}`)
	say("/latest/meta-data/public-keys/", "0=first")
	say("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 BBBB aws")
	say("/computeMetadata/v1/instance/id", "42")
	say("/computeMetadata/v1/instance/hostname", "from-gcp")
	say("/computeMetadata/v1/instance/attributes/user-data", `{"broken": {"entries": {"a": {"content": "half"}, `)
	return mux
}

// TestMetadata boots a system that takes metadata from a disk, from a cloud, and
// from one that says what cannot be read. It trusts authorities, and powers off.
func TestMetadata(t *testing.T) {
	e := setup(t)
	server := httptest.NewServer(clouds())
	defer server.Close()
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	url := "http://10.0.2.2:" + port // of the host, in QEMU's user network

	show := func(name string) string {
		return onboot(name, "busybox", "sh", "-c", "hostname; cd /run/config; cat provider hostname ssh/authorized_keys; ls -l extra/* app/*; find . -name '*new*'; ls -d broken; true") +
			"    binds: [\"/run:/run\"]\n"
	}
	head := strings.Replace(fmt.Sprintf(bootHead, "lkx.onboot=continue"), "init: [", "init: [ghcr.io/lkx-os/ca-certificates:0.1, ", 1)
	manifest := head + "onboot:\n" +
		onboot("authorities", "busybox", "head", "-1", "/etc/ssl/cert.pem") + "    binds: [\"/etc/ssl:/etc/ssl:ro\"]\n" +
		onboot("network", "busybox", "sh", "-c", "ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up") + "    capabilities: [CAP_NET_ADMIN]\n" +
		onboot("disk", "metadata", "/usr/bin/metadata") + show("show1") +
		onboot("aws", "metadata", "/usr/bin/metadata", "-url", "aws="+url, "-timeout", "10s", "aws") + show("show2") +
		onboot("gcp", "metadata", "/usr/bin/metadata", "-url", "gcp="+url, "-timeout", "10s", "gcp") + show("show3") +
		onboot("nobody", "metadata", "/usr/bin/metadata", "-timeout", "1s", "hetzner", "file=/none") +
		onboot("off", "poweroff", "/poweroff", "1")
	dir := t.TempDir()
	for name, text := range map[string]string{"user-data": cloudConfig, "meta-data": "instance-id: one\nlocal-hostname: not-this\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	iso := filepath.Join(t.TempDir(), "cidata.iso")
	ok(t, "xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-R", "-o", iso, dir)
	console := boot(t, e, write(t, "metadata.yml", manifest), "--disk", iso+",ro,format=raw")
	console = strings.ReplaceAll(console, "\r", "")
	contains(t, console,
		`metadata: cidata: host name "from-cidata", 1 ssh keys`, "nothing is done for packages",
		"[003-show1] from-cidata\n[003-show1] cidata\n[003-show1] from-cidata\n[003-show1] ssh-ed25519 AAAA user\n", "-rw-r-----    1 0        0               23",
		"[005-show2] from-aws\n[005-show2] aws\n[005-show2] from-aws\n[005-show2] ssh-ed25519 BBBB aws\n", "-rw-------    1 0        0                8",
		"metadata: gcp: user data: this begins as JSON, but is none", "006-gcp: exited with status 1",
		"[007-show3] from-aws\n[007-show3] aws\n", "ls: broken: No such file or directory",
		"hetzner: not here", "file=/none: not here", "[000-authorities] -----BEGIN CERTIFICATE-----",
		"[009-off] poweroff: in 1 seconds", "powering off now",
	)
	if strings.Contains(console, ".metadata-new") {
		t.Error("half-written files were left")
	}
}
