package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	keyDir  = "/etc/ssh"
	sshd    = "/usr/sbin/sshd"
	keygen  = "/usr/bin/ssh-keygen"
	privsep = "/run/sshd" // where sshd shuts in what speaks to strangers
)

// keyFiles are where the keys are that let root in: those of the manifest and
// those of the metadata, as this image's label binds them and as LinuxKit's
// does. sshd reads them at every login.
var keyFiles = []string{
	"/root/.ssh/authorized_keys", "/host/root/.ssh/authorized_keys",
	"/run/config/ssh/authorized_keys", "/host/run/config/ssh/authorized_keys",
}

// settings are sshd_config(5)'s: root alone, by key alone, and nothing to carry
// on from here. Of two that contradict each other sshd takes the first, so that
// the command line comes before them.
var settings = []string{
	"AuthorizedKeysFile=" + strings.Join(keyFiles, " "),
	"AllowUsers=root", "PermitRootLogin=prohibit-password",
	"PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "UsePAM=no",
	"AllowAgentForwarding=no", "AllowTcpForwarding=no", "AllowStreamLocalForwarding=no", "PermitTunnel=no", "X11Forwarding=no",
	// The root of a system in memory has the mode of /tmp, which sshd minds;
	// what is in it cannot be written all the same.
	"StrictModes=no",
	"PermitUserRC=no", "PrintMotd=no", "PrintLastLog=no", "PidFile=none",
}

// serve becomes sshd.
func serve(args []string) error {
	shell, rest, err := parse(args[1:])
	if err != nil {
		return err
	}
	keys, err := hostKeys(keyDir)
	if err != nil {
		return err
	}
	if err := prepare(privsep); err != nil {
		return fmt.Errorf("making sshd's directory: %w", err)
	}
	// Where lkxctl looks for what it controls, unless the manifest binds that.
	if err := os.Symlink("/host/run/lkx", "/run/lkx"); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !anyKey(keyFiles) {
		fmt.Fprintln(os.Stderr, "sshd: nobody can log in yet: there is no key in", strings.Join(keyFiles, ", "))
	}
	return become(sshd, command(shell, rest, keys)...)
}

// prepare makes sshd's directory, with the files in which it notes who is logged
// in: the image has links to them where it looks.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"utmp", "lastlog"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// parse takes -login from the arguments; the rest is for sshd.
func parse(args []string) (login string, rest []string, err error) {
	if len(args) == 0 || args[0] != "-login" {
		return "", args, nil
	}
	if len(args) == 1 || strings.TrimSpace(args[1]) == "" || strings.Contains(args[1], `"`) {
		return "", nil, errors.New(`-login wants a program with its arguments, without quotes: -login "/usr/bin/x -y"`)
	}
	return args[1], args[2:], nil
}

// command is sshd's command line. It reads no file of settings.
func command(login string, rest, keys []string) []string {
	out := []string{sshd, "-D", "-e", "-f", "none"}
	out = append(out, rest...)
	for _, s := range settings {
		out = append(out, "-o", s)
	}
	if login != "" {
		out = append(out, "-o", fmt.Sprintf(`SetEnv=%s="%s"`, loginVariable, login))
	}
	for _, k := range keys {
		out = append(out, "-o", "HostKey="+k)
	}
	return out
}

// hostKeys are the keys in dir, by which the system is known; one is made if
// there is none. It says their fingerprints, for who wants to compare.
func hostKeys(dir string) ([]string, error) {
	keys, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key"))
	if err != nil {
		return nil, err
	}
	made := ""
	if len(keys) == 0 {
		key := filepath.Join(dir, "ssh_host_ed25519_key")
		if err := makeKey(key); err != nil {
			return nil, fmt.Errorf("making a host key in %s: %w", dir, err)
		}
		keys, made = []string{key}, "new "
	}
	for _, k := range keys {
		out, err := exec.Command(keygen, "-l", "-f", k).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("the host key %s cannot be read, remove it to have a new one made: %s: %w", k, bytes.TrimSpace(out), err)
		}
		fmt.Fprintf(os.Stderr, "sshd: %shost key: %s\n", made, bytes.TrimSpace(out))
	}
	return keys, nil
}

// makeKey makes a key under another name first: half a key would be a fault for
// ever if the power went.
func makeKey(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	half := filepath.Join(filepath.Dir(name), ".new")
	for _, old := range []string{half, half + ".pub"} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", half).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	for _, ext := range []string{".pub", ""} {
		if err := keep(half+ext, name+ext); err != nil {
			return err
		}
	}
	return nil
}

// keep renames a file when its contents are on the disk.
func keep(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func anyKey(files []string) bool {
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil && len(bytes.TrimSpace(text)) > 0 {
			return true
		}
	}
	return false
}
