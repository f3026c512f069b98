package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// Sizes of what contents are put together from.
const (
	phrases   = 4096    // words of a text, instructions of a program
	chunkSize = 1 << 16 // bytes that are made at a time
)

// A maker makes the contents of files, the same from the same seed: programs,
// which zstd makes about a third of, texts, a quarter, and what is compressed
// already.
type maker struct {
	rng   *rand.Rand
	noise *rand.ChaCha8
	words [][]byte
	codes [][]byte
}

func newMaker(seed uint64) *maker {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	// Words and instructions are the same in all images, as in real ones.
	common := rand.New(rand.NewPCG(1, 2))
	m := &maker{rng: rand.New(rand.NewPCG(seed, 3)), noise: rand.NewChaCha8(key)}
	for range phrases {
		word := make([]byte, 2+common.IntN(9), 12)
		for i := range word {
			word[i] = "etaoinshrdlcumwfgypbvkxjqz"[min(common.IntN(26), common.IntN(26))]
		}
		m.words = append(m.words, append(word, ' '))
		code := make([]byte, 2+common.IntN(6))
		for i := range code {
			code[i] = byte(common.Uint32())
		}
		m.codes = append(m.codes, code)
	}
	return m
}

// fill appends at least n bytes of one kind of contents to buf.
type fill func(m *maker, buf []byte, n int) []byte

// program is like machine code: few instructions are most, with numbers between.
func program(m *maker, buf []byte, n int) []byte {
	for len(buf) < n {
		x := m.rng.Uint64()
		buf = append(buf, m.codes[skewed(x)]...)
		switch x >> 60 {
		case 0, 1:
			buf = append(buf, byte(x>>36), byte(x>>44)&0x3f, 0, 0)
		case 2, 3, 4:
			buf = again(buf, x)
		}
	}
	return buf
}

// text is words, a few of them often.
func text(m *maker, buf []byte, n int) []byte {
	for len(buf) < n {
		x := m.rng.Uint64()
		buf = append(buf, m.words[skewed(x)]...)
		switch x >> 60 {
		case 0:
			buf = append(buf, '\n')
		case 1, 2, 3, 4:
			buf = again(buf, x)
		}
	}
	return buf
}

// again appends some of buf once more, as compilers and people do.
func again(buf []byte, x uint64) []byte {
	at := int(x>>36&0xffff) % len(buf)
	return append(buf, buf[at:min(at+8+int(x>>52&0x3f), len(buf))]...)
}

// packed is what cannot be compressed.
func packed(m *maker, buf []byte, n int) []byte {
	start := len(buf)
	buf = append(buf, make([]byte, n-start)...)
	_, _ = m.noise.Read(buf[start:])
	return buf
}

// skewed is a number below phrases, low ones more often.
func skewed(x uint64) uint64 {
	const mask = phrases - 1
	return (x & mask) * (x >> 12 & mask) / phrases * (x >> 24 & mask) / phrases
}

// kind draws what a file holds.
func (m *maker) kind() fill {
	switch n := m.rng.IntN(10); {
	case n < 6:
		return program
	case n < 9:
		return text
	}
	return packed
}

// size draws the size of a file: most are small, most bytes are in large ones.
func (m *maker) size() int64 {
	between := func(lo, hi int64) int64 { return lo + m.rng.Int64N(hi-lo) }
	switch n := m.rng.IntN(100); {
	case n < 60:
		return between(200, 8<<10)
	case n < 90:
		return between(8<<10, 128<<10)
	case n < 99:
		return between(128<<10, 2<<20)
	}
	return between(2<<20, 24<<20)
}

// write writes size bytes of one kind.
func (m *maker) write(w io.Writer, make fill, size int64) error {
	var buf []byte
	for size > 0 {
		n := min(size, chunkSize)
		buf = make(m, buf[:0], int(n))
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}
