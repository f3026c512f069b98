package probe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a tool that makes or judges images.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			if os.Getenv("LKX_TEST_E2E") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// source is a directory to make images of.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), bytes.Repeat([]byte("content\n"), 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func check(t *testing.T, image []byte, want FileSystem) {
	t.Helper()
	got, err := Read(bytes.NewReader(image))
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestSquashfs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	run(t, "mksquashfs", source(t), name, "-quiet", "-no-progress")
	image := read(t, name)
	if len(image)%squashfsBlock != 0 {
		t.Fatalf("the image is not padded: %d bytes", len(image))
	}
	want := FileSystem{Type: "squashfs", Size: int64(little.Uint64(image[40:]))}
	check(t, image, want)
	check(t, image[:want.Size], want)
	id := append([]byte("lkx-uuid"), 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x8f, 0xed, 0xcb, 0xa9, 0x87, 0x65, 0x43, 0x21)
	image = append(image, id...)
	want.UUID = "01234567-89ab-4def-8fed-cba987654321"
	check(t, image, want)
	image[len(image)-len(id)] = 'L'
	want.UUID = ""
	check(t, image, want)
}

func TestErofs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	const id = "01234567-89ab-4def-8fed-cba987654321"
	run(t, "mkfs.erofs", "-U", id, name, source(t))
	image := read(t, name)
	copy(image[1024+64:], "a label of 16 by")
	check(t, image, FileSystem{Type: "erofs", UUID: id, Label: "a label of 16 by", Size: int64(len(image))})
	copy(image[1024+48:], make([]byte, 32))
	check(t, image, FileSystem{Type: "erofs", Size: int64(len(image))})
}

func TestISO9660(t *testing.T) {
	for _, date := range []string{"2024123123595900", ""} {
		name := filepath.Join(t.TempDir(), "image")
		args := []string{"-as", "mkisofs", "-quiet", "-R", "-V", "LKX-ROOT", "-o", name}
		if date != "" {
			args = append(args, "--modification-date="+date)
		}
		run(t, "xorriso", append(args, source(t))...)
		image := read(t, name)
		judged := strings.TrimSpace(run(t, "blkid", "-p", "-o", "value", "-s", "UUID", name))
		if date != "" && judged != "2024-12-31-23-59-59-00" {
			t.Errorf("blkid says %s", judged)
		}
		check(t, image, FileSystem{Type: "iso9660", UUID: judged, Label: "LKX-ROOT", Size: int64(len(image))})
		pvd := image[16*2048:]
		// Without a date of modification it is that of the creation.
		copy(pvd[830:], "0000000000000000\x00")
		copy(pvd[813:], "2001020304050607\x00")
		check(t, image, FileSystem{Type: "iso9660", UUID: "2001-02-03-04-05-06-07", Label: "LKX-ROOT", Size: int64(len(image))})
		copy(pvd[813:], "0000000000000000\x00")
		check(t, image, FileSystem{Type: "iso9660", Label: "LKX-ROOT", Size: int64(len(image))})
	}
}

// broken is a device that cannot be read from an offset on.
type broken int64

var errBroken = errors.New("input/output error")

func (b broken) ReadAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) > int64(b) {
		return 0, errBroken
	}
	return len(p), nil
}

func TestUnknown(t *testing.T) {
	for name, r := range map[string]io.ReaderAt{
		"empty": bytes.NewReader(nil), "short": strings.NewReader("hsqs"), "zeros": bytes.NewReader(make([]byte, 1<<20)),
	} {
		if fs, err := Read(r); err != ErrUnknown {
			t.Errorf("%s: got %+v, %v", name, fs, err)
		}
	}
	for _, from := range []broken{0, 1024, 32768} {
		if fs, err := Read(from); !errors.Is(err, errBroken) {
			t.Errorf("broken at %d: got %+v, %v", from, fs, err)
		}
	}
}
