package vmdk

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
)

// image is what parse found: the descriptor's lines and the grains, by number.
type image struct {
	capacity int64 // bytes
	lines    []string
	grains   map[int64][]byte
}

// parse reads an image as open-vmdk lays it out, and fails at the first byte
// that is not where it would be. Its numbers are the format's, not the
// package's constants.
func parse(t *testing.T, b []byte) image {
	t.Helper()
	le := binary.LittleEndian
	capacity := int64(le.Uint64(b[12:]))
	if capacity%128 != 0 {
		t.Fatalf("the capacity is %d sectors", capacity)
	}
	tables := (capacity/128 + 511) / 512
	tablesAt := 21 + (tables+127)/128
	overHead := tablesAt + 4*tables

	header := []byte("KDMV\x03\x00\x00\x00\x01\x00\x03\x00")
	for _, field := range []int64{capacity, 128, 1, 20} {
		header = le.AppendUint64(header, uint64(field))
	}
	header = le.AppendUint32(header, 512)
	for _, field := range []int64{0, 21, overHead} {
		header = le.AppendUint64(header, uint64(field))
	}
	header = append(header, "\x00\n \r\n\x01\x00"...)
	if !bytes.Equal(b[:512], append(header, make([]byte, 433)...)) {
		t.Fatalf("the header is\n%x, not\n%x", b[:79], header)
	}
	text := strings.TrimRight(string(b[512:21*512]), "\x00")
	if strings.Contains(text, "\x00") {
		t.Fatal("the descriptor holds a NUL")
	}
	for i := range (tablesAt - 21) * 128 {
		want := int64(0)
		if i < tables {
			want = tablesAt + 4*i
		}
		if got := int64(le.Uint32(b[21*512+4*i:])); got != want {
			t.Fatalf("grain table %d is at sector %d, want %d", i, got, want)
		}
	}
	img := image{capacity * 512, strings.Split(text, "\n"), map[int64][]byte{}}
	entries := b[tablesAt*512 : overHead*512]
	last := int64(-1)
	at := overHead
	for !bytes.Equal(b[at*512:][:512], make([]byte, 512)) {
		lba, size := int64(le.Uint64(b[at*512:])), int64(le.Uint32(b[at*512+8:]))
		if lba%128 != 0 || lba >= capacity || lba <= last || size == 0 {
			t.Fatalf("sector %d has a marker for sector %d, %d bytes, after %d", at, lba, size, last)
		}
		last = lba
		if got := int64(le.Uint32(entries[lba/128*4:])); got != at {
			t.Fatalf("the table has grain %d at sector %d, it is at %d", lba/128, got, at)
		}
		clear(entries[lba/128*4:][:4])
		img.grains[lba/128] = inflate(t, b[at*512+12:][:size])
		end := at*512 + 12 + size
		at = (end + 511) / 512
		if slices.ContainsFunc(b[end:at*512], func(c byte) bool { return c != 0 }) {
			t.Fatalf("grain %d is padded with other than zeros", lba/128)
		}
	}
	if at*512+512 != int64(len(b)) {
		t.Fatalf("the stream ends at sector %d, the file has %d bytes", at, len(b))
	}
	if slices.ContainsFunc(entries, func(c byte) bool { return c != 0 }) {
		t.Fatal("the tables have a grain that is not in the stream")
	}
	return img
}

func inflate(t *testing.T, data []byte) []byte {
	t.Helper()
	in := bytes.NewReader(data)
	z, err := zlib.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil || len(out) != 64<<10 || in.Len() != 0 {
		t.Fatalf("a grain holds %d bytes, and %d are left over (%v)", len(out), in.Len(), err)
	}
	if bytes.Count(out, []byte{0}) == len(out) {
		t.Fatal("a grain of zeros was written")
	}
	return out
}
