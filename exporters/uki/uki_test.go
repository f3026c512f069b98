package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/sparse"
)

// stub is a program with one section, as long as room says, and debug symbols
// behind it.
func stub(room int) []byte {
	le := binary.LittleEndian
	const peOff, optSize = 0x40, 240
	table := peOff + 4 + coffSize + optSize
	headers := int(roundUp(int64(table+sectionSize*(1+room)), 1))
	raw := int(roundUp(int64(headers), 512))
	b := make([]byte, raw+512+100)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], peOff)
	copy(b[peOff:], "PE\x00\x00")
	coff, opt := b[peOff+4:], b[peOff+4+coffSize:]
	le.PutUint16(coff, 0x8664)
	le.PutUint16(coff[coffSections:], 1)
	le.PutUint32(coff[coffSymbols:], uint32(raw+512))
	le.PutUint32(coff[coffSymbolCount:], 2)
	le.PutUint16(coff[coffOptional:], optSize)
	le.PutUint16(opt, magicPE32Plus)
	le.PutUint32(opt[optSectionAlign:], 512)
	le.PutUint32(opt[optFileAlign:], 512)
	le.PutUint32(opt[optSizeOfHeaders:], uint32(headers))
	le.PutUint32(opt[108:], 16) // NumberOfRvaAndSizes
	s := b[table:]
	copy(s, ".text")
	le.PutUint32(s[8:], 300)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 512)
	le.PutUint32(s[20:], uint32(raw))
	copy(b[raw:], "code")
	return b
}

func contents(text string) *sparse.File {
	f := &sparse.File{}
	f.Put(0, []byte(text))
	return f
}

func TestNew(t *testing.T) {
	kernel := strings.Repeat("kernel", 1000)
	img, err := New(stub(3), 1000,
		Section{".cmdline", contents("console=ttyS0")}, Section{".initrd", contents("cpio")}, Section{".linux", contents(kernel)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := img.File.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if f.NumberOfSymbols != 0 || f.TimeDateStamp != 1000 {
		t.Errorf("the header is %+v", f.FileHeader)
	}
	want := []struct {
		name, text string
		va         uint32
	}{{".text", "code", 0x1000}, {".cmdline", "console=ttyS0", 0x2000}, {".initrd", "cpio", 0x3000}, {".linux", kernel, 0x4000}}
	if len(f.Sections) != len(want) {
		t.Fatalf("there are %d sections", len(f.Sections))
	}
	for i, s := range f.Sections {
		text, _ := s.Data()
		if s.Name != want[i].name || s.VirtualAddress != want[i].va || !strings.HasPrefix(string(text), want[i].text) || s.Offset%512 != 0 {
			t.Errorf("section %d is %+v", i, s.SectionHeader)
		}
		if i > 0 && (int(s.VirtualSize) != len(want[i].text) || img.Raw[s.Name] != sparse.Run{Off: int64(s.Offset), Size: int64(s.Size)}) {
			t.Errorf("section %s: %+v, said to be at %+v", s.Name, s.SectionHeader, img.Raw[s.Name])
		}
	}
	if got := f.OptionalHeader.(*pe.OptionalHeader64).SizeOfImage; got != 0x6000 {
		t.Errorf("SizeOfImage is %#x", got)
	}
}

func TestRefusals(t *testing.T) {
	signed := stub(3)
	binary.LittleEndian.PutUint32(signed[0x40+4+coffSize+optCertificateDir+4:], 100)
	huge := &sparse.File{}
	huge.Resize(4 << 30)
	for name, x := range map[string]struct {
		stub     []byte
		sections []Section
		want     string
	}{
		"text":     {[]byte("#!/bin/sh"), nil, "not a PE program"},
		"signed":   {signed, nil, "signed"},
		"cut off":  {stub(3)[:600], nil, "cut off"},
		"no room":  {stub(0), []Section{{".linux", contents("x")}}, "room for 0 sections"},
		"name":     {stub(3), []Section{{".toolongname", contents("x")}}, "1 to 8 bytes"},
		"empty":    {stub(3), []Section{{".linux", &sparse.File{}}}, "is empty"},
		"too long": {stub(3), []Section{{".linux", huge}}, "smaller than 4 GiB"},
	} {
		if _, err := New(x.stub, 0, x.sections...); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
