package iso9660

import (
	"fmt"
	"strings"

	"github.com/lkx-os/lkx/tree"
)

// entry is a system use entry: signature, length, version, data (SUSP 4.1).
type entry []byte

const (
	maxEntry = 255 // bytes: its length has one
	ceSize   = 28  // of a CE entry

	// Flags of NM, of SL and of a component of SL (RRIP 4.1.3, 4.1.4).
	flagContinue = 1 << 0
	flagCurrent  = 1 << 1
	flagParent   = 1 << 2
	flagRoot     = 1 << 3
)

func newEntry(signature string, data ...byte) entry {
	return append(entry{signature[0], signature[1], byte(4 + len(data)), 1}, data...)
}

// sharing is SP, which begins the root's area (SUSP 5.3): nothing is skipped.
func sharing() entry { return newEntry("SP", 0xbe, 0xef, 0) }

// continuation is CE without its place (SUSP 5.1).
func continuation() entry { return newEntry("CE", make([]byte, ceSize-4)...) }

// rockRidge is ER, which names the extension in use (SUSP 5.5, RRIP 4.3).
func rockRidge() entry {
	const (
		id          = "IEEE_P1282"
		description = "THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
		source      = "PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION."
	)
	e := newEntry("ER", byte(len(id)), byte(len(description)), byte(len(source)), 1)
	e = append(e, id+description+source...)
	e[2] = byte(len(e))
	return e
}

// posix is PX: mode, links, owner, group and serial number (RRIP 4.1.1).
func posix(i *inode) entry {
	e := newEntry("PX", make([]byte, 40)...)
	for n, field := range []uint32{i.entry.Mode, i.nlink, i.entry.UID, i.entry.GID, i.serial} {
		both32(e[4+8*n:], int64(field))
	}
	return e
}

// times is TF: modification, access and attribute change (RRIP 4.1.6).
func (r *records) times() entry {
	e := newEntry("TF", 1<<1|1<<2|1<<3)
	for range 3 {
		e = append(e, r.date[:]...)
	}
	e[2] = byte(len(e))
	return e
}

// special is what is recorded of links and devices alone.
func special(e *tree.Entry) []entry {
	switch e.Type() {
	case tree.TypeSymlink:
		return symlink(e.Link)
	case tree.TypeBlock, tree.TypeChar:
		high, low, _ := device(e.Rdev)
		pn := newEntry("PN", make([]byte, 16)...) // RRIP 4.1.2
		both32(pn[4:], int64(high))
		both32(pn[12:], int64(low))
		return []entry{pn}
	}
	return nil
}

// device gives the two fields of PN. RRIP leaves open how a device number is
// cut: Linux takes a low field of more than 8 bits under a high field of 0 as
// a dev_t of 16 bits, as libisofs does; where the number does not fit that,
// Linux takes major and minor.
func device(dev uint64) (high, low uint32, err error) {
	major, minor := tree.Major(dev), tree.Minor(dev)
	switch {
	case minor < 1<<8 && major < 1<<12:
		return 0, major<<8 | minor, nil
	case major == 0:
		return 0, 0, fmt.Errorf("device 0:%d cannot be told from another in an ISO 9660 volume", minor)
	}
	return major, minor, nil
}

// names is a name as NM entries (RRIP 4.1.4).
func names(name string) []entry {
	var out []entry
	for {
		part := name[:min(len(name), maxEntry-5)]
		name = name[len(part):]
		var flags byte
		if name != "" {
			flags = flagContinue
		}
		out = append(out, newEntry("NM", append([]byte{flags}, part...)...))
		if name == "" {
			return out
		}
	}
}

// symlink is a target as SL entries (RRIP 4.1.3): one component for each part
// between slashes, and one for a slash at the beginning. An entry is filled up
// and its last component cut before there is another entry.
func symlink(target string) []entry {
	var out []entry
	sl := newEntry("SL", 0)
	flush := func(flags byte) {
		sl[2], sl[4] = byte(len(sl)), flags
		out = append(out, sl)
		sl = newEntry("SL", 0)
	}
	component := func(flags byte, text string) {
		for {
			if len(sl)+2+min(1, len(text)) > maxEntry {
				flush(flagContinue)
			}
			part := text[:min(len(text), maxEntry-2-len(sl))]
			text = text[len(part):]
			if text == "" {
				sl = append(append(sl, flags, byte(len(part))), part...)
				return
			}
			sl = append(append(sl, flagContinue, byte(len(part))), part...)
		}
	}
	target, absolute := strings.CutPrefix(target, "/")
	if absolute {
		component(flagRoot, "")
	}
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == ".":
			component(flagCurrent, "")
		case part == "..":
			component(flagParent, "")
		case target != "":
			component(0, part)
		}
	}
	flush(0)
	return out
}

// fit is how many of the entries have a place in room bytes: all of them, or
// as many as leave room for a CE entry.
func fit(entries []entry, room int) int {
	size, fits := 0, 0
	for i, e := range entries {
		size += len(e)
		if size+ceSize <= room {
			fits = i + 1
		}
	}
	if size <= room {
		return len(entries)
	}
	return fits
}

// areaSize is how many bytes of room the entries then take.
func areaSize(entries []entry, room int) int {
	n, size := fit(entries, room), 0
	for _, e := range entries[:n] {
		size += len(e)
	}
	if n < len(entries) {
		size += ceSize
	}
	return size
}
