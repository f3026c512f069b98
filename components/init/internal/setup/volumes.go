package setup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

// Volumes mounts the volumes below dir: of each NAME/lower the content, on
// NAME/merged the volume. It can be written where NAME/tmp is there for that,
// in memory.
func Volumes(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing volumes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		for _, m := range volume(filepath.Join(dir, e.Name())) {
			if err := m.Do(); err != nil {
				errs = append(errs, fmt.Errorf("volume %s: %w", e.Name(), err))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// volume is how the volume in dir is mounted.
func volume(dir string) []mnt.Mount {
	lower, tmp, merged := filepath.Join(dir, "lower"), filepath.Join(dir, "tmp"), filepath.Join(dir, "merged")
	if _, err := os.Stat(tmp); err != nil {
		return []mnt.Mount{{Destination: merged, Source: lower, Options: []string{"bind", "ro"}}}
	}
	return []mnt.Mount{
		{Destination: tmp, Type: "tmpfs", Source: "tmpfs"},
		{Destination: merged, Type: "overlay", Source: "overlay", Options: []string{
			"lowerdir=" + lower, "upperdir=" + filepath.Join(tmp, "upper"), "workdir=" + filepath.Join(tmp, "work"),
		}},
	}
}
