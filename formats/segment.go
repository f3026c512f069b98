package formats

import (
	"encoding/json"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/lkx-os/lkx/tree"
)

// Compressions are the ways an initrd can be compressed, the default first.
// Linux since 5.9 reads zstd; older ones read gzip.
var Compressions = []string{"zstd", "gzip"}

// segmentAlign is what each segment of an initrd is a multiple of
// (Documentation/driver-api/early-userspace/buffer-format.rst).
const segmentAlign = 4

// Segment writes t as one part of an initrd: cpio archives, each compressed and
// padded to a multiple of 4 bytes. What the archives cannot hold, the extended
// attributes, they carry in a file ".lkx/xattrs-NAME.json", which the init
// applies. boot/ is left out: a running system does not need it. The same tree
// gives the same bytes on every machine.
func Segment(w io.Writer, name string, t tree.Tree, compression string, epoch int64) error {
	return NewWorkers().Segment(w, name, t, compression, epoch)
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
