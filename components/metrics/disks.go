package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// diskColumns are those of /proc/diskstats after the name (iostats.rst), with
// what a unit of them is.
var diskColumns = []struct {
	name, kind, help string
	unit             float64
}{
	{"node_disk_reads_completed_total", counter, "Reads.", 1},
	{"node_disk_reads_merged_total", counter, "Reads that became part of others.", 1},
	{"node_disk_read_bytes_total", counter, "Bytes read.", 512},
	{"node_disk_read_time_seconds_total", counter, "Time of all reads.", 1e-3},
	{"node_disk_writes_completed_total", counter, "Writes.", 1},
	{"node_disk_writes_merged_total", counter, "Writes that became part of others.", 1},
	{"node_disk_written_bytes_total", counter, "Bytes written.", 512},
	{"node_disk_write_time_seconds_total", counter, "Time of all writes.", 1e-3},
	{"node_disk_io_now", gauge, "Reads and writes under way.", 1},
	{"node_disk_io_time_seconds_total", counter, "Time in which there were some.", 1e-3},
	{"node_disk_io_time_weighted_seconds_total", counter, "That, times how many there were.", 1e-3},
}

// disks tells of disks, mappings and swap in memory, and not of their
// partitions, which the kernel counts with their disks.
func (s sources) disks(p *page) error {
	list, err := lines(s.proc, "diskstats")
	for _, words := range list {
		if len(words) < 3+len(diskColumns) || strings.HasPrefix(words[2], "loop") || strings.HasPrefix(words[2], "ram") {
			continue
		}
		// In /sys/block are disks alone; "!" stands for "/" (cciss/c0d0).
		if err := unix.Access(filepath.Join(s.sys, "block", strings.ReplaceAll(words[2], "/", "!")), unix.F_OK); err != nil {
			continue
		}
		for i, c := range diskColumns {
			p.add(c.name, c.kind, c.help, number(words[3+i])*c.unit, "device", words[2])
		}
	}
	return err
}

// shownTypes are the file systems that hold something.
var shownTypes = []string{"btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "rootfs", "squashfs", "tmpfs", "vfat", "xfs"}

// fileSystems tells of what is mounted below the host's root, as it is bound
// into this container: each file system once, where it was mounted first.
func (s sources) fileSystems(p *page) error {
	list, err := lines(s.proc, "self/mountinfo")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range list {
		// proc(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS
		dash := slices.Index(m, "-")
		if dash < 6 || len(m) < dash+4 {
			continue
		}
		point, ok := below(s.host, unescape.Replace(m[4]))
		if !ok || seen[m[2]] || ofContainer(point) || !slices.Contains(shownTypes, m[dash+1]) {
			continue
		}
		seen[m[2]] = true
		var f unix.Statfs_t
		if e := unix.Statfs(filepath.Join(s.host, point), &f); e != nil {
			if !errors.Is(e, unix.EACCES) { // a place that is closed to us, such as a container's
				err = errors.Join(err, e)
			}
			continue
		}
		addFileSystem(p, f, readOnly(m[dash+3]), "device", unescape.Replace(m[dash+2]), "fstype", m[dash+1], "mountpoint", point)
	}
	return err
}

func addFileSystem(p *page, f unix.Statfs_t, readOnly float64, labels ...string) {
	size := float64(f.Bsize)
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"size_bytes", "Size of a file system.", float64(f.Blocks) * size},
		{"free_bytes", "What is free on it.", float64(f.Bfree) * size},
		{"avail_bytes", "What is free on it for all.", float64(f.Bavail) * size},
		{"files", "How many files it can have.", float64(f.Files)},
		{"files_free", "How many more files it can have.", float64(f.Ffree)},
		{"readonly", "Whether it is read-only.", readOnly},
	} {
		p.add("node_filesystem_"+m.name, gauge, m.help, m.value, labels...)
	}
}

// unescape is for names in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// below is a path as seen from root, if it is there or below.
func below(root, path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, root)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "/", true
	}
	return rest, rest[0] == '/'
}

// ofContainer tells whether something is mounted for a container alone, such as
// our own /dev. What containers write is in memory beside their root file
// systems, and is the host's.
func ofContainer(point string) bool {
	return strings.HasPrefix(point, "/containers/") && strings.Contains(point, "/rootfs/")
}

// readOnly is 1 for a file system's options that begin with "ro".
func readOnly(options string) float64 {
	if options == "ro" || strings.HasPrefix(options, "ro,") {
		return 1
	}
	return 0
}
