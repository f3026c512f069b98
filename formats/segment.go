package formats

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"github.com/lkx-os/lkx/exporters/cpio"
	"github.com/lkx-os/lkx/tree"
)

// Compressions are the ways an initrd can be compressed, the default first.
// Linux since 5.9 reads zstd; older ones read gzip.
var Compressions = []string{"zstd", "gzip"}

// segmentAlign is what each segment of an initrd is a multiple of
// (Documentation/driver-api/early-userspace/buffer-format.rst).
const segmentAlign = 4

// gzipBlock is the size of the blocks that are compressed side by side. The
// bytes written depend on it, so it never changes.
const gzipBlock = 1 << 20

// Segment writes t as one part of an initrd: a cpio archive, compressed, padded
// to a multiple of 4 bytes. What the archive cannot hold, the extended
// attributes, it carries in a file ".lkx/xattrs-NAME.json", which the init
// applies. boot/ is left out: a running system does not need it. The same tree
// gives the same bytes on every machine.
func Segment(w io.Writer, name string, t tree.Tree, compression string, epoch int64) error {
	t, err := forInitrd(name, t)
	if err != nil {
		return err
	}
	counted := &counter{w: w}
	z, err := compressor(counted, compression)
	if err != nil {
		return err
	}
	if err := cpio.Write(z, t, epoch); err != nil {
		z.Close()
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing the archive: %w", err)
	}
	_, err = w.Write(make([]byte, -counted.n&(segmentAlign-1)))
	return err
}

func compressor(w io.Writer, name string) (io.WriteCloser, error) {
	switch name {
	case "", Compressions[0]:
		// One goroutine: segments are made side by side instead.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	case "gzip":
		z, err := pgzip.NewWriterLevel(w, pgzip.DefaultCompression)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(gzipBlock, 2)
	}
	return nil, fmt.Errorf("unknown compression %q; there are: %s", name, strings.Join(Compressions, ", "))
}

// attributed is one file's extended attributes in ".lkx/xattrs-NAME.json".
type attributed struct {
	Path   string            `json:"path"`
	Xattrs map[string][]byte `json:"xattrs"` // values in base64
}

// forInitrd is t without boot/, its extended attributes moved into a file.
func forInitrd(name string, t tree.Tree) (tree.Tree, error) {
	var list []attributed
	boot := false
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		boot = boot || inBoot(e.Path)
		if len(e.Xattrs) == 0 {
			continue
		}
		a := attributed{e.Path, map[string][]byte{}}
		for k, v := range e.Xattrs {
			a.Xattrs[k] = []byte(v)
		}
		list = append(list, a)
	}
	if !boot && list == nil {
		return t, nil
	}
	var b tree.Builder
	if err := b.Add("", plain{t}, inBoot); err != nil {
		return nil, err
	}
	if list != nil {
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		file := strings.Trim(strings.NewReplacer("[", "-", "]", "").Replace(name), "-")
		for _, e := range []tree.Entry{
			{Path: ".lkx", Mode: tree.TypeDir | 0o755},
			{Path: path.Join(".lkx", "xattrs-"+file+".json"), Mode: tree.TypeRegular | 0o600, Size: int64(len(text))},
		} {
			if err := b.Put(e, tree.Bytes(string(text))); err != nil {
				return nil, err
			}
		}
	}
	return b.Overlay(), nil
}

func inBoot(p string) bool { return p == "boot" || strings.HasPrefix(p, "boot/") }

// plain is a tree without extended attributes.
type plain struct{ tree.Tree }

func (p plain) All() iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for e, err := range p.Tree.All() {
			e.Xattrs = nil
			if !yield(e, err) {
				return
			}
		}
	}
}

// counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
