package gcp

import (
	"encoding/binary"
	"fmt"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	block       = 512
	entrySize   = 24 // of a sparse map: offset[12], numbytes[12]
	inExtension = 21 // and in each block after it
	octalLimit  = 1 << 33
)

// header is the header of a sparse member of realsize bytes, its map's further
// blocks included. The archive holds stored bytes of it, those of runs.
func header(runs []sparse.Run, stored, realsize, epoch int64) ([]byte, error) {
	if epoch < 0 || epoch >= octalLimit {
		return nil, fmt.Errorf("time %d does not fit a tar header", epoch)
	}
	// The file ends where its map does: a last hole is an entry without bytes.
	if n := len(runs); n == 0 || runs[n-1].Off+runs[n-1].Size < realsize {
		runs = append(runs, sparse.Run{Off: realsize})
	}
	b := make([]byte, block)
	copy(b, member)                  // name[100]
	number(b[100:108], 0o644)        // mode
	number(b[108:116], 0)            // uid
	number(b[116:124], 0)            // gid
	number(b[124:136], stored)       // size
	number(b[136:148], epoch)        // mtime
	copy(b[148:156], "        ")     // chksum, while it is computed
	b[156] = 'S'                     // typeflag: GNUTYPE_SPARSE
	copy(b[257:], "ustar  \x00")     // magic and version
	runs = entries(b[386:482], runs) // sp
	b[482] = extended(runs)          // isextended
	number(b[483:495], realsize)     // realsize
	var sum int64
	for _, c := range b {
		sum += int64(c)
	}
	number(b[148:155], sum) // 6 digits, NUL, space

	for len(runs) > 0 {
		next := make([]byte, block)
		runs = entries(next[:inExtension*entrySize], runs)
		next[504] = extended(runs) // isextended
		b = append(b, next...)
	}
	return b, nil
}

// entries fills b with the first of runs, and returns those that are left.
func entries(b []byte, runs []sparse.Run) []sparse.Run {
	n := min(len(runs), len(b)/entrySize)
	for i, run := range runs[:n] {
		number(b[i*entrySize:][:12], run.Off)
		number(b[i*entrySize+12:][:12], run.Size)
	}
	return runs[n:]
}

func extended(left []sparse.Run) byte {
	if len(left) > 0 {
		return 1
	}
	return 0
}

// number fills b with n: octal digits and a NUL or, from 8 GiB on in a field of
// 12 bytes, big endian behind a byte 0x80, as GNU tar does.
func number(b []byte, n int64) {
	if n < octalLimit {
		copy(b, fmt.Sprintf("%0*o\x00", len(b)-1, n))
		return
	}
	b[0] = 0x80
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(n))
}
