package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/disk"
)

// fetchFile takes user data from a file.
func fetchFile(path string) (data, error) {
	user, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errAbsent, err)
	}
	return data{user: user}, err
}

// runData is the serial number of the disk that "lkx run --data" attaches.
const runData = "lkx-data"

// fetchDisk takes a disk or CD with the label cidata (cloud-init, "NoCloud"), a
// CD with LinuxKit's file config, or the disk of lkx run --data, which may be
// either, or user data itself.
func fetchDisk(ctx context.Context, _ client) (data, error) {
	var limit time.Duration
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	var found data
	var failed error
	_, _, ok, err := disk.Wait(limit, func(all []disk.Found) (disk.Found, bool) {
		for _, f := range all {
			if !candidate(f) {
				continue
			}
			if found, failed = readDisk(f); !errors.Is(failed, errAbsent) {
				return f, true
			}
		}
		return disk.Found{}, false
	})
	if err != nil {
		return data{}, err
	}
	if !ok {
		return data{}, fmt.Errorf("%w: no disk or CD with the label cidata", errAbsent)
	}
	return found, failed
}

// candidate tells what is worth to be mounted.
func candidate(f disk.Found) bool {
	labelled := f.Type != "" && strings.EqualFold(f.Label, "cidata")
	return labelled || f.CD && f.Type == "iso9660" || f.Serial == runData && !f.Partition
}

// readDisk reads what is on a candidate.
func readDisk(f disk.Found) (data, error) {
	if f.Type == "" {
		user, err := os.ReadFile(f.Path)
		if len(user) > maxAnswer {
			return data{}, fmt.Errorf("%s: more than %d bytes of user data", f.Path, maxAnswer)
		}
		return data{user: bytes.TrimRight(user, "\x00")}, err // a disk ends with a whole sector
	}
	dir, err := os.MkdirTemp("", "cidata")
	if err != nil {
		return data{}, err
	}
	defer os.Remove(dir)
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount(f.Path, dir, f.Type, flags, ""); err != nil {
		return data{}, fmt.Errorf("mounting %s: %w", f, err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	d, err := readFiles(dir)
	if errors.Is(err, errAbsent) && strings.EqualFold(f.Label, "cidata") {
		err = fmt.Errorf("none of user-data, meta-data and config is there") // it claims to have them
	}
	if err != nil {
		return d, fmt.Errorf("%s: %w", f, err)
	}
	return d, nil
}

// readFiles reads the files of a NoCloud disk, or LinuxKit's.
func readFiles(dir string) (d data, err error) {
	texts := map[string][]byte{}
	for _, name := range []string{"user-data", "config", "meta-data"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return d, err
		}
		texts[name] = text
	}
	if len(texts) == 0 {
		return d, errAbsent
	}
	if d.user = texts["config"]; texts["user-data"] != nil {
		d.user = texts["user-data"]
	}
	return d, d.meta(texts["meta-data"])
}

// meta takes what a NoCloud meta-data says, which is YAML.
func (d *data) meta(text []byte) error {
	var m struct {
		Instance string  `yaml:"instance-id"`
		Local    string  `yaml:"local-hostname"`
		Host     string  `yaml:"hostname"`
		Keys     keyList `yaml:"public-keys"`
	}
	if err := decodeYAML("meta-data", text, &m); err != nil {
		return err
	}
	d.instance, d.host, d.keys = m.Instance, m.Local, m.Keys
	if d.host == "" {
		d.host = m.Host
	}
	return nil
}
