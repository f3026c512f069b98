package main

import (
	"io/fs"
	"syscall"
)

// inode is the number of a file, which changes when another takes its name.
func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
