// Package uki assembles Unified Kernel Images: PE32+ programs for UEFI that are
// a stub (systemd-stub) with a kernel, an initrd and a command line as sections
// (UAPI Group Specification "Unified Kernel Image"; Microsoft "PE Format").
//
// It refuses stubs that are not PE32+, that are signed, or whose header has no
// room for the sections, and images of 4 GiB or more.
package uki

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/lkx-os/lkx/internal/sparse"
)

// Section is one that is added to the stub, such as ".linux" or ".cmdline".
type Section struct {
	Name     string // up to 8 bytes
	Contents *sparse.File
}

// Image is an assembled program.
type Image struct {
	File *sparse.File
	// Raw is where the contents of the added sections are in File. Each range
	// begins at, and may be rounded up to, a multiple of [Align]: zeros follow.
	Raw map[string]sparse.Run
}

const (
	// Align is what contents of sections are aligned to in the file, in bytes:
	// FileAlignment, 512 at least.
	Align = 512

	pageSize      = 4096       // of memory; sections begin at its multiples
	sectionSize   = 40         // bytes of a section header (PE Format, "Section Table")
	initialized   = 0x00000040 // IMAGE_SCN_CNT_INITIALIZED_DATA
	readable      = 0x40000000 // IMAGE_SCN_MEM_READ
	magicPE32Plus = 0x20b
)

// Offsets in the COFF header ("COFF File Header") and the optional header
// ("Optional Header (Image Only)").
const (
	coffSections    = 2  // NumberOfSections, u16
	coffTime        = 4  // TimeDateStamp, u32
	coffSymbols     = 8  // PointerToSymbolTable, u32
	coffSymbolCount = 12 // NumberOfSymbols, u32
	coffOptional    = 16 // SizeOfOptionalHeader, u16
	coffSize        = 20

	optInitialized    = 8   // SizeOfInitializedData, u32
	optSectionAlign   = 32  // SectionAlignment, u32
	optFileAlign      = 36  // FileAlignment, u32
	optSizeOfImage    = 56  // SizeOfImage, u32
	optSizeOfHeaders  = 60  // SizeOfHeaders, u32
	optCheckSum       = 64  // CheckSum, u32
	optDirectories    = 112 // data directories of 8 bytes
	optCertificateDir = optDirectories + 4*8
)

// New adds sections to stub, in their order, with epoch, in seconds since 1970,
// as the time. ".linux" must come last: a kernel may need memory beyond its
// bytes (systemd-stub(7)).
func New(stub []byte, epoch int64, sections ...Section) (*Image, error) {
	h, err := parse(stub)
	if err != nil {
		return nil, err
	}
	if have, want := h.room(), len(sections); want > have {
		return nil, fmt.Errorf("the stub's header has room for %d sections, and there are %d to add", have, want)
	}
	img := &Image{File: &sparse.File{}, Raw: map[string]sparse.Run{}}
	raw, va, data := h.rawEnd, h.virtualEnd, int64(0)
	for _, s := range sections {
		size := s.Contents.Size()
		switch {
		case s.Name == "" || len(s.Name) > 8:
			return nil, fmt.Errorf("section name %q has not 1 to 8 bytes", s.Name)
		case size == 0:
			return nil, fmt.Errorf("section %s is empty", s.Name)
		}
		padded := roundUp(size, h.fileAlign)
		if raw+padded > math.MaxUint32 || va+size > math.MaxUint32 {
			return nil, fmt.Errorf("section %s: %d bytes are too many; an image is smaller than 4 GiB", s.Name, size)
		}
		h.add(s.Name, uint32(size), uint32(va), uint32(padded), uint32(raw))
		img.File.PutFile(raw, s.Contents)
		img.Raw[s.Name] = sparse.Run{Off: raw, Size: roundUp(size, Align)}
		raw += padded
		va = roundUp(va+size, pageSize)
		data += padded
	}
	h.finish(va, data, epoch)
	img.File.Put(0, h.bytes)
	img.File.Resize(raw)
	return img, nil
}

// header is a stub, without what follows its last section.
type header struct {
	bytes              []byte
	coff, opt, table   int // offsets
	sections           int
	fileAlign          int64
	sectionAlign       int64
	rawEnd, virtualEnd int64 // where the next section goes, in the file and in memory
}

func parse(stub []byte) (*header, error) {
	le := binary.LittleEndian
	if len(stub) < 0x40 || string(stub[:2]) != "MZ" {
		return nil, fmt.Errorf("the stub is not a PE program")
	}
	pe := int(le.Uint32(stub[0x3c:])) // e_lfanew
	if pe < 0 || pe > len(stub)-4-coffSize-optCertificateDir-8 || string(stub[pe:pe+4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("the stub is not a PE program")
	}
	h := &header{coff: pe + 4, opt: pe + 4 + coffSize}
	if le.Uint16(stub[h.opt:]) != magicPE32Plus {
		return nil, fmt.Errorf("the stub is not a program of 64 bits (PE32+)")
	}
	if le.Uint32(stub[h.opt+optCertificateDir+4:]) != 0 {
		return nil, fmt.Errorf("the stub is signed; what is added would break its signature")
	}
	h.sections = int(le.Uint16(stub[h.coff+coffSections:]))
	h.table = h.opt + int(le.Uint16(stub[h.coff+coffOptional:]))
	h.fileAlign = int64(le.Uint32(stub[h.opt+optFileAlign:]))
	h.sectionAlign = int64(le.Uint32(stub[h.opt+optSectionAlign:]))
	if h.fileAlign < Align || h.fileAlign&(h.fileAlign-1) != 0 || h.sectionAlign == 0 || h.table+h.sections*sectionSize > len(stub) {
		return nil, fmt.Errorf("the stub's header is damaged")
	}
	for i := range h.sections {
		s := stub[h.table+i*sectionSize:]
		h.virtualEnd = max(h.virtualEnd, int64(le.Uint32(s[12:]))+int64(le.Uint32(s[8:])))
		h.rawEnd = max(h.rawEnd, int64(le.Uint32(s[20:]))+int64(le.Uint32(s[16:])))
	}
	if h.rawEnd > int64(len(stub)) {
		return nil, fmt.Errorf("the stub is cut off: %d of %d bytes", len(stub), h.rawEnd)
	}
	// Debug symbols behind the last section are left away.
	h.bytes = append([]byte(nil), stub[:h.rawEnd]...)
	h.rawEnd = roundUp(h.rawEnd, h.fileAlign)
	h.virtualEnd = roundUp(h.virtualEnd, pageSize)
	return h, nil
}

// room is how many more section headers fit.
func (h *header) room() int {
	end := int(binary.LittleEndian.Uint32(h.bytes[h.opt+optSizeOfHeaders:]))
	return (min(end, len(h.bytes))-h.table)/sectionSize - h.sections
}

// add writes the next section header.
func (h *header) add(name string, size, va, rawSize, raw uint32) {
	le := binary.LittleEndian
	s := h.bytes[h.table+h.sections*sectionSize:][:sectionSize]
	clear(s)
	copy(s[0:8], name)
	le.PutUint32(s[8:], size)     // VirtualSize
	le.PutUint32(s[12:], va)      // VirtualAddress
	le.PutUint32(s[16:], rawSize) // SizeOfRawData
	le.PutUint32(s[20:], raw)     // PointerToRawData
	le.PutUint32(s[36:], initialized|readable)
	h.sections++
}

// finish brings the header's sums up to date.
func (h *header) finish(virtualEnd, data, epoch int64) {
	le := binary.LittleEndian
	coff, opt := h.bytes[h.coff:], h.bytes[h.opt:]
	le.PutUint16(coff[coffSections:], uint16(h.sections))
	le.PutUint32(coff[coffTime:], uint32(min(max(epoch, 0), math.MaxUint32)))
	le.PutUint32(coff[coffSymbols:], 0)
	le.PutUint32(coff[coffSymbolCount:], 0)
	le.PutUint32(opt[optInitialized:], le.Uint32(opt[optInitialized:])+uint32(data))
	le.PutUint32(opt[optSizeOfImage:], uint32(roundUp(virtualEnd, h.sectionAlign)))
	le.PutUint32(opt[optCheckSum:], 0) // only drivers need one
}

func roundUp(n, align int64) int64 { return (n + align - 1) / align * align }
