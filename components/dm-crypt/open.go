package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/lkx-os/lkx/components/internal/disk"
)

// openLUKS opens a device with a LUKS header, or makes one.
func openLUKS(o options) (disk.Found, error) {
	f, err := findLUKS(o)
	if err != nil {
		return f, err
	}
	if f.Empty() && o.format {
		if err := f.Free(); err != nil {
			return f, fmt.Errorf("%s: %w", f.Path, err)
		}
		// 64 MiB for the derivation of the key: a smaller machine can open it, too.
		err := cryptsetup("luksFormat", "--type", "luks2", "--pbkdf-memory", "65536", "--label", o.name, "--key-file", o.key, f.Path)
		if err != nil {
			return f, fmt.Errorf("making %s encrypted: %w", f.Path, err)
		}
		fmt.Printf("dm-crypt: %s, %s: made LUKS, LABEL=%s\n", f.Path, disk.Bytes(f.Size), o.name)
	} else if f.Type != disk.LUKS {
		hint := ""
		if f.Empty() {
			hint = "; -format makes it encrypted"
		}
		return f, fmt.Errorf("there is no LUKS header, and it is left alone: %s%s", f, hint)
	}
	if err := cryptsetup("open", "--type", "luks", "--disable-keyring", "--key-file", o.key, f.Path, o.name); err != nil {
		return f, fmt.Errorf("opening %s with key %s: %w", f.Path, o.key, err)
	}
	return f, nil
}

// findLUKS is the device that was named, or that has the name of the mapping as
// its label, or with -format an empty disk.
func findLUKS(o options) (disk.Found, error) {
	if o.device != "" {
		return disk.Find(o.device, o.timeout)
	}
	f, all, ok, err := disk.Wait(o.timeout, func(all []disk.Found) (disk.Found, bool) {
		for _, f := range all {
			if f.Type == disk.LUKS && f.Label == o.name {
				return f, true
			}
		}
		if o.format {
			f, err := disk.FirstEmpty(all)
			return f, err == nil
		}
		return disk.Found{}, false
	})
	if err != nil || ok {
		return f, err
	}
	if o.format {
		_, err = disk.FirstEmpty(all)
		return f, fmt.Errorf("no LUKS with LABEL=%s, and %w", o.name, err)
	}
	return f, fmt.Errorf("no LUKS with LABEL=%s; %s", o.name, disk.There(all))
}

// openPlain opens a device that is encrypted as a whole. A wrong key cannot be
// told from a right one, but by what then seems to be there.
func openPlain(o options) (disk.Found, error) {
	f, err := disk.Find(o.device, o.timeout)
	if err != nil {
		return f, err
	}
	if !f.Nothing() {
		return f, fmt.Errorf("this is not encrypted without a header, but has data, and is left alone: %s", f)
	}
	temporary, err := isDevice(o.key)
	if err != nil {
		return f, fmt.Errorf("the key: %w", err)
	}
	err = cryptsetup("open", "--type", "plain", "--cipher", o.cipher, "--key-size", "256", "--key-file", o.key, f.Path, o.name)
	if err != nil {
		return f, fmt.Errorf("opening %s with the first 32 bytes of %s: %w", f.Path, o.key, err)
	}
	if temporary {
		return f, nil
	}
	if err := familiar(o, f); err != nil {
		return f, errors.Join(err, cryptsetup("close", o.name))
	}
	return f, nil
}

// familiar is nil if what was opened looks as if the key were right: something
// is on it, or the disk has never been written and is to be.
func familiar(o options, f disk.Found) error {
	c, err := disk.Look("/dev/mapper/" + o.name)
	switch {
	case err != nil || !c.Nothing():
		return err
	case f.Written:
		return fmt.Errorf("%s has been written, but the key %s opens nothing that is known: is it the right one?", f.Path, o.key)
	case !o.format:
		return fmt.Errorf("%s is empty; -format takes it", f.Path)
	}
	return nil
}

func isDevice(path string) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeDevice != 0, err
}
