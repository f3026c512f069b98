// Package gcp writes a disk as Google Compute Engine imports images: a gzipped
// tar archive with the one member disk.raw, in the old GNU format, as long as a
// whole number of GiB ("Manually import boot disks", Google Cloud
// documentation; "Old GNU Format", GNU tar manual, D.1.1).
//
// The member is sparse: holes take no space in the archive, and no time.
//
// It refuses empty disks, and times that a tar header cannot hold.
package gcp

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/pgzip"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	member     = "disk.raw"
	sizeUnit   = 1 << 30
	holeAlign  = 4096    // smaller holes are written
	gzipBlock  = 1 << 20 // compressed by itself; part of what the bytes are
	maxWorkers = 16      // each needs some MiB
	bufferSize = 1 << 20
)

// Options are what an image takes beside the disk.
type Options struct {
	Epoch int64 // time of disk.raw, in seconds since 1970
	Level int   // of gzip, 1 to 9; 0 is 6
}

// Size is how many bytes long a disk of size bytes is as an image.
func Size(size int64) int64 { return (size + sizeUnit - 1) / sizeUnit * sizeUnit }

// Write writes disk to w as a compressed image. The bytes depend neither on the
// number of processors nor on anything but the arguments.
func Write(w io.Writer, disk *sparse.File, o Options) error {
	if disk.Size() == 0 {
		return errors.New("the disk is empty")
	}
	if o.Level == 0 {
		o.Level = 6
	}
	if o.Level < 1 || o.Level > 9 {
		return fmt.Errorf("there is no gzip level %d: 1 to 9", o.Level)
	}
	z, err := pgzip.NewWriterLevel(w, o.Level)
	if err != nil {
		return err
	}
	// Without a time; that of an unset field would be year 1, cut to 32 bits.
	z.ModTime = time.Unix(0, 0)
	if err := z.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0), maxWorkers)); err != nil {
		return err
	}
	if err := archive(z, disk.Section(0, Size(disk.Size())), o.Epoch); err != nil {
		z.Close() // ends its goroutines
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing the archive: %w", err)
	}
	return nil
}

// archive writes the tar archive: the header, the pieces that are not holes,
// and two blocks of zeros as the end.
func archive(w io.Writer, disk *sparse.File, epoch int64) error {
	runs := disk.Runs(holeAlign)
	data := join(disk, runs)
	head, err := header(runs, data.Size(), disk.Size(), epoch)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	r, err := data.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.CopyBuffer(w, r, make([]byte, bufferSize)); err != nil {
		return fmt.Errorf("writing %s: %w", member, err)
	}
	if _, err := w.Write(make([]byte, 2*block)); err != nil {
		return fmt.Errorf("writing the end: %w", err)
	}
	return nil
}

// join is the runs of disk without the holes between them. Read as one file, a
// source in many pieces is opened only once.
func join(disk *sparse.File, runs []sparse.Run) *sparse.File {
	var out sparse.File
	for _, run := range runs {
		out.PutFile(out.Size(), disk.Section(run.Off, run.Size))
	}
	return &out
}
