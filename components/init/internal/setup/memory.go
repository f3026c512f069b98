package setup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

// Memory gives huge pages to the programs that ask for them with madvise(2), not
// to all, and takes back what the kernel keeps free for all: some 70 MB of a
// machine of 1 GiB, as it counts, and about as much that lies about in lists of
// each processor, the lengths of which go by it
// (Documentation/admin-guide/mm/transhuge.rst, sysctl/vm.rst: min_free_kbytes).
// With transparent_hugepage= on the kernel's command line all stays as it is.
func Memory(args cmdline.Args) error {
	if args.Get("transparent_hugepage") != "" {
		return nil
	}
	if err := memory("/sys", "/proc/sys"); err != nil {
		return fmt.Errorf("saving memory: %w", err)
	}
	return nil
}

func memory(sys, sysctl string) error {
	pages := filepath.Join(sys, "kernel/mm/transparent_hugepage/enabled")
	free := filepath.Join(sysctl, "vm/min_free_kbytes")
	if _, err := os.Stat(pages); os.IsNotExist(err) {
		return nil // this kernel has none
	}
	// The kernel's own reckoning for a machine without huge pages is what is
	// wanted; when they are on again it has another.
	if err := os.WriteFile(pages, []byte("never"), 0); err != nil {
		return err
	}
	kilobytes, err := os.ReadFile(free)
	if err != nil {
		return err
	}
	if err := os.WriteFile(pages, []byte("madvise"), 0); err != nil {
		return err
	}
	return os.WriteFile(free, bytes.TrimSpace(kilobytes), 0)
}
