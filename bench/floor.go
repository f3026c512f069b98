package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// What this program does, in a process of its own, as its first argument says.
const (
	floorArg  = "floor"  // floor KIND OUT LAYER...: the least that making an artifact of layers costs
	digestArg = "digest" // digest FILE...: reads files and hashes them
)

// Kinds of floors.
const (
	floorInitrd   = "initrd"   // as segments of an initrd are compressed
	floorSquashfs = "squashfs" // as the blocks of a squashfs are
)

// floor reads every layer once, compresses its contents once, and writes the
// result to out once: each layer by itself, one on each processor, largest
// first. Nothing is hashed.
func floor(ctx context.Context, kind, out string, layers []string) error {
	sizes := map[string]int64{}
	for _, name := range layers {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		sizes[name] = info.Size()
	}
	slices.SortFunc(layers, func(a, b string) int { return cmp.Compare(sizes[b], sizes[a]) })
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range layers {
		g.Go(func() error { return floorLayer(kind, name, filepath.Join(out, fmt.Sprint(i))) })
	}
	return g.Wait()
}

func floorLayer(kind, name, out string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := decompress(in)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	compress := compressStream
	if kind == floorSquashfs {
		compress = compressBlocks
	}
	if err := compress(f, plain); err != nil {
		return fmt.Errorf("writing %s: %w", out, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// decompress reads what a layer holds.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(head, []byte{0x1f, 0x8b}) { // RFC 1952, 2.3.1
		return gzip.NewReader(b)
	}
	z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// compressStream is how formats.Segment compresses; a test holds them together.
func compressStream(w io.Writer, r io.Reader) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{z}, r, make([]byte, 1<<20)); err != nil {
		z.Close()
		return err
	}
	return z.Close()
}

// squashfsBlock is the size of the blocks that exporters/squashfs compresses.
const squashfsBlock = 128 << 10

// compressBlocks is how exporters/squashfs compresses.
func compressBlocks(w io.Writer, r io.Reader) error {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(squashfsBlock), zstd.WithEncoderCRC(false))
	if err != nil {
		return err
	}
	defer z.Close()
	in, out := make([]byte, squashfsBlock), make([]byte, 0, squashfsBlock)
	for {
		n, err := io.ReadFull(r, in)
		if n > 0 {
			out = z.EncodeAll(in[:n], out[:0])
			if len(out) >= n {
				out = in[:n]
			}
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}

// digests reads files once and hashes them, one on each processor.
func digests(ctx context.Context, names []string) error {
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range names {
		g.Go(func() error {
			_, err := fileSum(name)
			return err
		})
	}
	return g.Wait()
}

// fileSum is the sha256 of a file.
func fileSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
