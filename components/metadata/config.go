package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// config is where everything is written.
const configDir = "/run/config"

// file is one that is going to be written.
type file struct {
	mode   fs.FileMode
	text   []byte
	append bool // to what is there
}

// config is data that has been checked as a whole.
type config struct {
	host     string
	keys     int
	files    map[string]file // by path
	warnings []string
}

// interpret makes files of data. raw leaves the user data alone.
func interpret(provider string, d data, raw bool) (config, error) {
	c := config{host: d.host, files: map[string]file{}}
	put := func(name string, mode fs.FileMode, text string) {
		c.files[path.Join(configDir, name)] = file{mode: mode, text: []byte(text)}
	}
	put("provider", 0o644, provider+"\n")
	if d.instance != "" {
		put("instance_id", 0o644, d.instance+"\n")
	}
	keys := slices.Clone(d.keys)
	user, err := unzip(d.user)
	if err != nil {
		return c, fmt.Errorf("user data: %w", err)
	}
	if user != nil {
		put("userdata", 0o644, string(user))
	}
	if !raw {
		more, err := c.user(user)
		if err != nil {
			return c, fmt.Errorf("user data: %w", err)
		}
		keys = append(keys, more...)
	}
	if given, ok := c.files[path.Join(configDir, "hostname")]; ok {
		c.host = strings.TrimSpace(string(given.text))
	}
	if c.host != "" {
		if err := checkHost(c.host); err != nil {
			return c, err
		}
		put("hostname", 0o644, c.host+"\n")
	}
	if keys = unique(keys); len(keys) > 0 {
		put("ssh/authorized_keys", 0o600, strings.Join(keys, "\n")+"\n")
	}
	c.keys = len(keys)
	return c, c.tree()
}

// tree is an error if a file is to be where a directory is.
func (c *config) tree() error {
	for name := range c.files {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, ok := c.files[dir]; ok {
				return fmt.Errorf("%s cannot be both a file and a directory", dir)
			}
		}
	}
	return nil
}

// user makes files of user data by its kind, and gives the ssh keys in it.
func (c *config) user(text []byte) ([]string, error) {
	head := bytes.TrimLeft(text, " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("{")):
		return nil, c.json(head)
	case bytes.HasPrefix(text, []byte("#cloud-config")):
		return c.cloudConfig(text)
	case bytes.HasPrefix(text, []byte("#!")):
		c.warnings = append(c.warnings, "user data is a script, which nothing here runs")
	case bytes.HasPrefix(text, []byte("Content-Type: multipart")), bytes.HasPrefix(text, []byte("MIME-Version:")):
		c.warnings = append(c.warnings, "user data is in several parts (MIME), which are not taken apart")
	}
	return nil, nil
}

// node is LinuxKit's: a file with content, or a directory with entries.
type node struct {
	Perm    string           `json:"perm"`
	Content *string          `json:"content"`
	Entries map[string]*node `json:"entries"`
}

// json makes the files of a JSON object. At its top the word "entries" can be
// left out.
func (c *config) json(text []byte) error {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return fmt.Errorf("this begins as JSON, but is none (-raw leaves it alone): %w", place(text, err))
	}
	for _, name := range slices.Sorted(maps.Keys(top)) {
		var n node
		strict := json.NewDecoder(bytes.NewReader(top[name]))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&n); err != nil {
			n = node{}
			if json.Unmarshal(top[name], &n.Entries) != nil || n.Entries["entries"] != nil {
				return fmt.Errorf("%s: want an object with content, or with entries (-raw leaves user data alone): %w", name, err)
			}
		}
		if err := c.node(configDir, name, &n); err != nil {
			return err
		}
	}
	return nil
}

func (c *config) node(dir, name string, n *node) error {
	at := path.Join(dir, name)
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%q in %s cannot be the name of a file", name, dir)
	case n == nil || (n.Content == nil) == (n.Entries == nil):
		return fmt.Errorf("%s: want an object with content, or with entries", at)
	case n.Content != nil:
		mode, err := parseMode(n.Perm)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		c.files[at] = file{mode: mode, text: []byte(*n.Content)}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(n.Entries)) {
		if err := c.node(at, name, n.Entries[name]); err != nil {
			return err
		}
	}
	return nil
}

// place adds the line to an error of encoding/json.
func place(text []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(text[:syntax.Offset], []byte("\n")), err)
}

// parseMode reads permission bits, octal; 0644 if there are none.
func parseMode(text string) (fs.FileMode, error) {
	if text == "" {
		return 0o644, nil
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q are no permissions such as 0600", text)
	}
	return fs.FileMode(n), nil
}

// checkHost is an error for what the kernel, or RFC 1123, would not take.
func checkHost(name string) error {
	bad := strings.IndexFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", r)
	})
	if bad >= 0 || len(name) > 64 || strings.HasPrefix(name, "-") {
		return fmt.Errorf("%q cannot be a host name", name)
	}
	return nil
}

// unzip unpacks what gzip has packed.
func unzip(text []byte) ([]byte, error) {
	if !bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		return text, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(out) > maxAnswer {
		err = fmt.Errorf("more than %d bytes when unpacked", maxAnswer)
	}
	return out, err
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
