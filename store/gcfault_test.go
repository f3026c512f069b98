package store_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/lkx-os/lkx/store"
)

// childTask is what a child does besides pulling; nil if it is nothing of that.
func childTask(name string) func(dir string) error {
	switch name {
	case "prune":
		return func(dir string) error {
			s, err := store.Open(context.Background(), dir, store.Options{Alone: true, Offline: true})
			if err != nil {
				return err
			}
			_, err = s.Prune(context.Background(), store.Policy{All: true})
			return err
		}
	case "import":
		return func(dir string) error {
			s, err := store.Open(context.Background(), dir, store.Options{Offline: true})
			if err != nil {
				return err
			}
			_, err = s.ImportArchive(context.Background(), os.Stdin, "")
			return errors.Join(err, s.Close())
		}
	case "prune without room":
		return func(dir string) error { return withoutRoom(1, "prune", dir) }
	case "import without room":
		return func(dir string) error { return withoutRoom(200_000, "import", dir) }
	}
	return nil
}

// withoutRoom does a task while no file can grow beyond limit bytes, which looks
// to it as a full disk does: writes fail.
func withoutRoom(limit uint64, task, dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	return childMain(dir, task)
}

// Who wants to be alone waits for all others, and those who come later for him.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	build := open(t, dir, store.Options{})
	_, err := store.Open(t.Context(), dir, store.Options{Alone: true, NoWait: true})
	if !errors.Is(err, store.ErrBusy) {
		t.Fatalf("error %v", err)
	}
	waits, turns := make(chan string), make(chan string, 2)
	enter := func(name string, o store.Options) {
		o.Waiting = func() { waits <- name }
		s, err := store.Open(context.Background(), dir, o)
		if err != nil {
			t.Error(err)
		}
		turns <- name
		s.Close()
	}
	go enter("prune", store.Options{Alone: true})
	if got := <-waits; got != "prune" {
		t.Fatalf("%s waits", got)
	}
	go enter("later", store.Options{})
	if got := <-waits; got != "later" {
		t.Fatalf("%s waits", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Open(ctx, dir, store.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	build.Close()
	if a, b := <-turns, <-turns; a != "prune" || b != "later" {
		t.Errorf("first %s, then %s", a, b)
	}
}

// Builds run in a loop while the store is pruned in a loop, also by processes
// that are killed: each build gets the right bytes.
func TestPruneAmongBuilds(t *testing.T) {
	f := newFamily(t)
	dir := t.TempDir()
	var builds, pruning sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		builds.Go(func() {
			for range 15 {
				f.build(t, dir, i%2 == 0)
			}
		})
	}
	rounds, killed := 0, 0
	pruning.Go(func() {
		rounds = until(done, func() {
			s, err := store.Open(t.Context(), dir, store.Options{Alone: true, Offline: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.Prune(t.Context(), store.Policy{All: true}); err != nil {
				t.Error(err)
			}
		})
	})
	pruning.Go(func() {
		killed = until(done, func() {
			cmd := child(t, dir, "prune")
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	})
	builds.Wait()
	close(done)
	pruning.Wait()
	if rounds < 5 || killed < 5 {
		t.Errorf("pruned %d times, %d killed", rounds, killed)
	}
	f.pull(t, open(t, dir, store.Options{}))
	whole(t, dir)
}

// until does something until done is closed, and counts how often.
func until(done <-chan struct{}, do func()) (rounds int) {
	for ; ; rounds++ {
		select {
		case <-done:
			return rounds
		default:
			do()
		}
	}
}

// build opens a store, pulls one of the two images, and closes it.
func (f family) build(t *testing.T, dir string, b bool) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	name, top := "/a:1", f.a
	if b {
		name, top = "/b:1", f.b
	}
	got, err := pull(s, f.host()+name, "linux/amd64")
	if err != nil || !slices.Equal(got, []digest.Digest{digest.FromBytes(f.base), digest.FromBytes(top)}) {
		t.Errorf("%v, %v", got, err)
	}
}

// whole tells of images whose names are there and they are not.
func whole(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir, store.Options{Offline: true})
	defer s.Close()
	v, err := s.Verify(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Faults {
		t.Error(f)
	}
}

// A prune that is killed at any time leaves a store that works.
func TestPruneKilled(t *testing.T) {
	f := newFamily(t)
	dir := t.TempDir()
	half := 0
	for i := range 20 {
		s := open(t, dir, store.Options{})
		f.pull(t, s)
		s.Close()
		full := usage(t, dir).Size
		cmd := child(t, dir, "prune")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); size(t, dir) == full; {
			time.Sleep(time.Duration(i%4) * 100 * time.Microsecond)
			if time.Now().After(deadline) {
				t.Fatal("nothing was removed")
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if size(t, dir) > 0 {
			half++
		}
		whole(t, dir)
	}
	t.Logf("%d of 20 were stopped half-way", half)
}

// size is what all files of blobs and layers have, as somebody else sees it.
func size(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	for _, p := range []string{"blobs/sha256/*", "lkx/layers/sha256/*"} {
		files, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				n += info.Size()
			}
		}
	}
	return n
}

// TestNoRoom prunes and imports when nothing can be written.
func TestNoRoom(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	var archive bytes.Buffer
	s := open(t, dir, store.Options{Offline: true})
	if err := s.Export(t.Context(), &archive, []string{f.host() + "/a:1"}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	write(t, filepath.Join(dir, "lkx/derived/segment/0123"), make([]byte, 1000))

	cmd := child(t, dir, "prune without room")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "file too large") {
		t.Errorf("pruned without room: %v, %s", err, said.String())
	}
	u := usage(t, dir)
	if len(u.Images) != 2 || u.Kinds[store.KindDerived].Files != 0 {
		t.Errorf("left: %+v", u)
	}
	whole(t, dir)
	mustPull(t, open(t, dir, store.Options{Offline: true}), f.host()+"/a:1", "linux/amd64", f.base, f.a)

	empty := t.TempDir()
	cmd = child(t, empty, "import without room")
	said.Reset()
	cmd.Stdin, cmd.Stderr = bytes.NewReader(archive.Bytes()), &said
	if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "file too large") {
		t.Errorf("imported without room: %v, %s", err, said.String())
	}
	if u := usage(t, empty); u.Size != 0 || len(u.Images) != 0 {
		t.Errorf("half-imported: %+v", u)
	}
	cmd = child(t, empty, "import")
	cmd.Stdin = bytes.NewReader(archive.Bytes())
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	mustPull(t, open(t, empty, store.Options{Offline: true}), f.host()+"/a:1", "linux/amd64", f.base, f.a)
}

// A store that filled its disk with images can be pruned all the same.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a small disk")
	}
	f := newFamily(t)
	disk := t.TempDir()
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	dir := filepath.Join(disk, "store")
	func() {
		s := open(t, dir, store.Options{Offline: true})
		defer s.Close()
		if _, err := s.ImportLayout(t.Context(), pulled(t, f), ""); err != nil {
			t.Fatal(err)
		}
	}()
	fill := make([]byte, 4<<20)
	if err := os.WriteFile(filepath.Join(disk, "other"), fill, 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	s := alone(t, dir)
	r, err := s.Remove(t.Context(), f.host()+"/a:1")
	if err != nil || len(r.Images) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	s.Close()
	if got := imageNames(usage(t, dir)); !slices.Equal(got, []string{f.host() + "/b:1"}) {
		t.Errorf("left: %q", got)
	}
	whole(t, dir)
}
