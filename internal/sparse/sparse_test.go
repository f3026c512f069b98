package sparse

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func text(t *testing.T, f *File) string {
	t.Helper()
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\x00", ".")
}

func TestFile(t *testing.T) {
	var in, out File
	in.Put(2, []byte("abcdef"))
	in.Resize(10)
	out.Put(12, []byte("xy"))
	out.PutFile(1, &in)
	out.Resize(16)
	if got, want := text(t, &out), "...abcdef...xy.."; got != want {
		t.Errorf("the file is %q, want %q", got, want)
	}
	if got, want := text(t, out.Section(5, 9)), "cdef...xy"; got != want {
		t.Errorf("a section is %q, want %q", got, want)
	}
	if got, want := text(t, out.Section(13, 6)), "y....."; got != want {
		t.Errorf("the section over the end is %q, want %q", got, want)
	}
	if got, want := out.Runs(4), []Run{{0, 16}}; !slices.Equal(got, want) {
		t.Errorf("runs are %v, want %v", got, want)
	}
	if got, want := out.Runs(1), []Run{{3, 6}, {12, 2}}; !slices.Equal(got, want) {
		t.Errorf("runs are %v, want %v", got, want)
	}
}

// TestSources cuts a source that cannot seek into pieces: read in order it is
// opened once, and again only to go back.
func TestSources(t *testing.T) {
	opened := 0
	var disk, cut File
	disk.PutSource(0, 10, func() (io.ReadCloser, error) {
		opened++
		return io.NopCloser(io.MultiReader(strings.NewReader("0123456789"))), nil
	})
	cut.PutFile(1, disk.Section(0, 3))
	cut.PutFile(5, disk.Section(3, 3))
	cut.PutFile(9, disk.Section(8, 2))
	cut.PutFile(12, disk.Section(1, 1))
	if got, want := text(t, &cut), ".012.345.89.1"; got != want {
		t.Errorf("the file is %q, want %q", got, want)
	}
	if opened != 2 {
		t.Errorf("the source was opened %d times, want 2", opened)
	}
	if got := text(t, disk.Section(4, 3)); got != "456" {
		t.Errorf("from the middle: %q", got)
	}
}

func TestShortSource(t *testing.T) {
	var f File
	f.PutSource(0, 10, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil })
	r, _ := f.Open()
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the error is %v", err)
	}
}

func TestSave(t *testing.T) {
	var f File
	f.Put(1<<20, bytes.Repeat([]byte("x"), 3<<20))
	f.Put(64<<20, []byte("end"))
	f.Resize(100 << 20)
	out, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := f.Save(out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	r, _ := f.Open()
	want, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file on disk differs (%v)", err)
	}
}

// TestParts saves parts of a file, once or twice each, and compares what it saved.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "whole")
	whole := bytes.Repeat([]byte("0123456789"), 200_000)
	if err := os.WriteFile(name, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	var f File
	open := func(off, size int64) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return OpenPart(name, off, size) }
	}
	f.PutSource(10, 1_500_003, open(7, 1_500_003))
	f.PutFile(1_500_020, f.Section(100, 1000)) // the same source, from an earlier byte
	f.PutSource(1_600_000, 5, open(0, 5))
	f.Put(1_600_010, []byte("xyz"))
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := f.Save(out); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1_600_013)
	copy(want[10:], whole[7:1_500_010])
	copy(want[1_500_020:], want[100:1100])
	copy(want[1_600_000:], "01234")
	copy(want[1_600_010:], "xyz")
	got, err := os.ReadFile(out.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("other bytes (%v)", err)
	}
	same := func(data []byte) bool {
		t.Helper()
		same, err := f.Same(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		return same
	}
	if !same(want) || same(want[1:]) || same(append(want, 0)) {
		t.Error("Same is wrong about the whole")
	}
	for _, at := range []int{0, 10, 1_500_019, 1_500_020, 1_600_012} {
		want[at] ^= 1
		if same(want) {
			t.Errorf("Same did not see byte %d", at)
		}
		want[at] ^= 1
	}
	var short File
	short.PutSource(0, 10, open(0, 5))
	if err := short.Save(out); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a part that is too short: %v", err)
	}
	if _, err := short.Same(bytes.NewReader(make([]byte, 10)), 10); err == nil {
		t.Error("Same reads a part that is too short")
	}
}

func TestCollision(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("bytes could be placed over others")
		}
	}()
	var f File
	f.Put(0, []byte("abc"))
	f.Put(2, []byte("c"))
}
