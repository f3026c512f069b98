package store_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lkx-os/lkx/store"
)

// derive makes the derived file that holds text, and tells whether it was made.
func derive(t *testing.T, s *store.Store, key, text string) (made bool) {
	t.Helper()
	d, err := s.Derive(t.Context(), "test", key, func(w *store.Draft) error {
		made = true
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got[:d.Size]) != text || d.Cached == made {
		t.Errorf("%q, made: %v, cached: %v", got[:d.Size], made, d.Cached)
	}
	return made
}

func TestDerived(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{Offline: true})
	path := filepath.Join(dir, "lkx", "derived", "test", "k")
	write(t, path+".part", []byte("of a build that was killed, and longer"))
	if !derive(t, s, "k", "text") {
		t.Error("not made")
	}
	if derive(t, open(t, dir, store.Options{Offline: true}), "k", "text") {
		t.Error("made again")
	}
	if derive(t, s, "other", "text"); len(glob(t, dir, "lkx/derived/test/*")) != 2 {
		t.Error("not two files")
	}
	broken := errors.New("broken")
	_, err := s.Derive(t.Context(), "test", "fails", func(w *store.Draft) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) || len(glob(t, dir, "lkx/derived/test/fails*")) != 0 {
		t.Errorf("%v; left: %q", err, glob(t, dir, "lkx/derived/test/fails*"))
	}
}

// TestDerivedMends damages a derived file: one that is right is known again,
// another is made anew.
func TestDerivedMends(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(path string, text []byte) error
		made   bool
	}{
		"touched": {func(path string, _ []byte) error { return os.Chtimes(path, time.Time{}, time.Now()) }, false},
		// A stamp of another boot, after which the file may have lost something.
		"booted": {func(path string, text []byte) error {
			return os.Chtimes(path, time.Time{}, time.Unix(1<<29, int64(len(text))))
		}, false},
		"flipped":       {func(path string, text []byte) error { return os.WriteFile(path, flipped(text), 0o644) }, true},
		"cut":           {func(path string, text []byte) error { return os.Truncate(path, 3) }, true},
		"empty":         {func(path string, text []byte) error { return os.Truncate(path, 0) }, true},
		"longer":        {func(path string, text []byte) error { return os.WriteFile(path, append(text, text...), 0o644) }, true},
		"gone":          {func(path string, _ []byte) error { return os.Remove(path) }, true},
		"another in it": {func(path string, _ []byte) error { return os.WriteFile(path, []byte(strings.Repeat("x", 50)), 0o644) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, store.Options{Offline: true})
			derive(t, s, "k", "text")
			path := filepath.Join(dir, "lkx", "derived", "test", "k")
			text, err := os.ReadFile(path)
			if err == nil {
				err = c.damage(path, text)
			}
			if err != nil {
				t.Fatal(err)
			}
			if made := derive(t, s, "k", "text"); made != c.made {
				t.Errorf("made: %v", made)
			}
			if derive(t, s, "k", "text") {
				t.Error("made, and made again")
			}
			info, err := os.Stat(path)
			if err == nil && !c.made && info.ModTime().UnixNano() != info.Size() {
				err = errors.New("no lasting stamp")
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDraft writes in several ways: the mark is that of what is there at the end.
func TestDraft(t *testing.T) {
	for name, fill := range map[string]func(*store.Draft) error{
		"appended": func(w *store.Draft) error {
			_, err := io.WriteString(w, "one, two")
			return err
		},
		"anywhere": func(w *store.Draft) error {
			_, err := w.File().WriteAt([]byte("one, two"), 0)
			return err
		},
		"both": func(w *store.Draft) error {
			_, err := io.WriteString(w, "six, two")
			if err == nil {
				_, err = w.File().WriteAt([]byte("one"), 0)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, store.Options{Offline: true})
			made := 0
			for range 2 {
				d, err := s.Derive(t.Context(), "test", "k", func(w *store.Draft) error {
					made++
					return fill(w)
				})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(d.Path); err != nil || string(got[:d.Size]) != "one, two" {
					t.Errorf("%q, %v", got, err)
				}
				if err := os.Chtimes(d.Path, time.Time{}, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if made != 1 {
				t.Errorf("made %d times: its mark is wrong", made)
			}
		})
	}
}

// TestDerivedOnce asks for one file from all sides.
func TestDerivedOnce(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		s := open(t, dir, store.Options{Offline: true})
		for range 4 {
			wg.Go(func() {
				_, err := s.Derive(t.Context(), "test", "k", func(w *store.Draft) error {
					made.Add(1)
					_, err := io.WriteString(w, "text")
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	all, err := fs.Glob(os.DirFS(dir), pattern)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
