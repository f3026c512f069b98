package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

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

// floorChunk is how much is compressed by itself for an initrd, in bytes.
const floorChunk = 4 << 20

// floor reads every layer once, compresses its contents once, in pieces that
// keep all processors at work, and writes the result to out once. Nothing is
// hashed, and no tree is made.
func floor(ctx context.Context, kind, out string, layers []string) error {
	size, option := floorChunk, initrdOptions
	if kind == floorSquashfs {
		size, option = squashfsBlock, squashfsOptions
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(runtime.GOMAXPROCS(0))
	writers, _ := errgroup.WithContext(ctx)
	pieces := make(chan []byte)
	for i := range runtime.GOMAXPROCS(0) {
		writers.Go(func() error { return compress(filepath.Join(out, fmt.Sprint(i)), pieces, option()) })
	}
	for _, name := range layers {
		readers.Go(func() error {
			if err := split(ctx, name, size, pieces); err != nil {
				return fmt.Errorf("reading %s: %w", name, err)
			}
			return nil
		})
	}
	err := readers.Wait()
	close(pieces)
	return errors.Join(err, writers.Wait())
}

// split sends what a layer holds in pieces of size bytes.
func split(ctx context.Context, name string, size int, to chan<- []byte) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := decompress(in)
	if err != nil {
		return err
	}
	for {
		buf := make([]byte, size)
		n, err := io.ReadFull(plain, buf)
		if n > 0 {
			select {
			case to <- buf[:n]:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// compress writes pieces to a file, each by itself. It takes all of them even
// when it fails.
func compress(name string, pieces <-chan []byte, options []zstd.EOption) error {
	z, err := zstd.NewWriter(nil, options...)
	if err != nil {
		return err
	}
	defer z.Close()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	var out []byte
	for piece := range pieces {
		if err == nil {
			out = z.EncodeAll(piece, out[:0])
			_, err = f.Write(out)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// initrdOptions are what formats.Segment compresses with; a test holds them together.
func initrdOptions() []zstd.EOption {
	return []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1)}
}

// squashfsBlock is the size of the blocks that exporters/squashfs compresses.
const squashfsBlock = 128 << 10

// squashfsOptions are what exporters/squashfs compresses with.
func squashfsOptions() []zstd.EOption {
	return []zstd.EOption{
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(squashfsBlock), zstd.WithEncoderCRC(false),
	}
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
