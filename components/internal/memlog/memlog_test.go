package memlog

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func all(string) bool { return true }

func TestHubKeeps(t *testing.T) {
	h := &Hub{}
	at := time.Now()
	h.Add(Entry{at, "quiet", "first"})
	long := strings.Repeat("x", 1000)
	for i := range 1000 {
		h.Add(Entry{at.Add(time.Duration(i+1) * time.Second), "noisy", fmt.Sprint(i, " ", long)})
	}
	got, r := h.Read(all)
	defer h.Leave(r)
	if got[0].Msg != "first" {
		t.Errorf("the quiet one was pushed out by %.20q", got[0].Msg)
	}
	if n := len(got) - 1; n < 100 || n > PerSource/1000 {
		t.Errorf("%d entries of the noisy one were kept", n)
	}
	if last := got[len(got)-1].Msg; !strings.HasPrefix(last, "999 ") {
		t.Errorf("the last is %.20q", last)
	}
	for i := range 200 { // all must share
		for range 1000 {
			h.Add(Entry{at, fmt.Sprint("source", i), long})
		}
	}
	sum := 0
	for _, s := range h.sources {
		sum += s.size
	}
	if sum > 4*inAll {
		t.Errorf("%d bytes are kept", sum)
	}
}

func TestSlowReader(t *testing.T) {
	h := &Hub{}
	_, r := h.Read(all)
	for i := range 2 * slack {
		h.Add(Entry{Source: "a", Msg: fmt.Sprint(i)})
	}
	for range cap(r.c) - 1 {
		<-r.C
	}
	h.Add(Entry{Source: "a", Msg: "after"})
	if e := <-r.C; !strings.HasSuffix(e.Msg, " lines missed by a slow reader") {
		t.Errorf("got %q", e.Msg)
	}
	if e := <-r.C; e.Msg != "after" {
		t.Errorf("got %q", e.Msg)
	}
	h.Leave(r)
	h.Add(Entry{Source: "a", Msg: "for nobody"})
	if len(r.C) > 0 {
		t.Error("one that left got more")
	}
}

// serve makes a hub and its socket.
func serve(t *testing.T) (*Hub, string) {
	t.Helper()
	h, path := &Hub{}, filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go h.Serve(t.Context(), l)
	return h, path
}

func TestQuery(t *testing.T) {
	h, path := serve(t)
	h.Add(Entry{time.Now(), "a", "one"})
	h.Add(Entry{time.Now(), "b.out", "two; \"quoted\" \x1b"})
	var got []string
	for e, err := range Query(t.Context(), path, Dump) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Source+": "+e.Msg)
	}
	if strings.Join(got, "|") != "a: one|b.out: two; \"quoted\" \x1b" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for e, err := range Query(ctx, path, DumpFollow) {
		if last = err; err != nil {
			break
		}
		switch n++; n {
		case 2:
			h.Add(Entry{time.Now(), "a", "three"})
		case 3:
			if e.Msg != "three" {
				t.Errorf("got %v", e)
			}
			cancel()
		}
	}
	if n != 3 || last == nil {
		t.Errorf("%d entries, then %v", n, last)
	}
	for _, err := range Query(t.Context(), path+"x", Dump) {
		if err == nil {
			t.Error("no error without a socket")
		}
	}
}

// TestWire has the bytes that LinuxKit's programs send and expect.
func TestWire(t *testing.T) {
	h, path := serve(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	h.Add(Entry{at, "web.out", "hello"})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{2}); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || line != `{"time":"2026-01-02T03:04:05.0000006Z","source":"web.out","msg":"hello"}`+"\n" {
		t.Errorf("got %q, %v", line, err)
	}
	h.Add(Entry{at, "web", "more"})
	var e Entry
	if err := json.NewDecoder(in).Decode(&e); err != nil || e.Msg != "more" {
		t.Errorf("got %v, %v", e, err)
	}
}

// TestExternal is a logger such as LinuxKit's memlogd, which is given pipes.
func TestExternal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logger")
	logger, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer logger.Close()
	x, err := Send(path, "web.out")
	if err != nil {
		t.Fatal(err)
	}
	name, oob := make([]byte, 512), make([]byte, 512)
	n, oobn, _, _, err := logger.ReadMsgUnix(name, oob)
	if err != nil || string(name[:n]) != "web.out" {
		t.Fatal(string(name[:n]), err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the pipe's flags are %#x, %v: reading it must wait", flags, err)
	}
	pipe := os.NewFile(uintptr(fds[0]), "pipe")
	x.Line([]byte("one"))
	in := bufio.NewReader(pipe)
	if line, err := in.ReadString('\n'); line != "one\n" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	for range 100 { // more than the pipe holds: would hang here
		x.Line([]byte(strings.Repeat("x", 2*atomic)))
	}
	pipe.Close()
	x.Line([]byte("the logger is gone"))
	x.Close()
	if _, err := Send(path+"x", "web"); err == nil {
		t.Error("no error without a logger")
	}
}
