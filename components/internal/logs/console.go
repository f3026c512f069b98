package logs

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// What one log may show on the console: so many lines at once, and so many a
// second in the long run. The console is slow, and there is one for all.
const (
	burst = 500
	rate  = 50
	queue = 64 // lines that wait for the console
)

// console shows lines of one log, each with a prefix and in one piece. It never
// waits for the console: lines that come too fast are left out, and counted.
type console struct {
	to     io.Writer
	prefix string
	lines  chan []byte
	done   chan struct{}

	credit  float64 // lines that may be shown now
	last    time.Time
	leftOut int // since the last line that was shown
}

func newConsole(to io.Writer, prefix string) *console {
	c := &console{to: to, prefix: prefix, lines: make(chan []byte, queue), done: make(chan struct{}), credit: burst, last: time.Now()}
	go func() {
		defer close(c.done)
		for line := range c.lines {
			_, _ = c.to.Write(line)
		}
	}()
	return c
}

func (c *console) show(line []byte) {
	now := time.Now()
	c.credit = min(burst, c.credit+now.Sub(c.last).Seconds()*rate)
	c.last = now
	// Once lines are left out, some are saved up for, so as not to show one here
	// and one there.
	if c.credit < 1 || len(c.lines) > queue-2 || c.leftOut > 0 && (c.credit < rate || len(c.lines) > queue/2) {
		c.leftOut++
		return
	}
	c.tell()
	c.credit--
	c.put(line)
}

// tell says how many lines were left out.
func (c *console) tell() {
	if c.leftOut > 0 {
		c.put(fmt.Appendf(nil, "(%d lines left out here, not in the log)", c.leftOut))
		c.leftOut = 0
	}
}

func (c *console) put(line []byte) {
	c.lines <- bytes.Join([][]byte{[]byte(c.prefix), line, {'\n'}}, nil)
}

// close waits until all that is shown has been.
func (c *console) close() {
	c.tell()
	close(c.lines)
	<-c.done
}
