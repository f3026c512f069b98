package main

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyList are ssh keys as a list, or as a mapping from names to keys.
type keyList []string

func (k *keyList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return n.Decode((*[]string)(k))
	}
	named := map[string]string{}
	if err := n.Decode(&named); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		*k = append(*k, named[name])
	}
	return nil
}

// writeFile is an entry of write_files (cloud-init, "Write Files").
type writeFile struct {
	Path        string `yaml:"path"`
	Content     string `yaml:"content"`
	Encoding    string `yaml:"encoding"`
	Permissions string `yaml:"permissions"`
	Owner       string `yaml:"owner"`
	Append      bool   `yaml:"append"`
	Defer       bool   `yaml:"defer"`
}

// cloudConfig takes what a #cloud-config says that means something here, and
// gives its ssh keys.
func (c *config) cloudConfig(text []byte) ([]string, error) {
	all := map[string]yaml.Node{}
	if err := decodeYAML("cloud-config", text, &all); err != nil {
		return nil, err
	}
	var host, fqdn string
	var keys []string
	var files []writeFile
	known := map[string]any{"hostname": &host, "fqdn": &fqdn, "ssh_authorized_keys": &keys, "write_files": &files}
	var ignored []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := all[name]
		to, ok := known[name]
		if !ok {
			ignored = append(ignored, name)
		} else if err := value.Decode(to); err != nil {
			return nil, fmt.Errorf("cloud-config: %s: %w", name, err)
		}
	}
	if len(ignored) > 0 {
		c.warnings = append(c.warnings, "cloud-config: nothing is done for "+strings.Join(ignored, ", "))
	}
	c.host = cmp.Or(host, fqdn, c.host)
	for i, f := range files {
		if err := c.writeFile(f); err != nil {
			return nil, fmt.Errorf("cloud-config: write_files[%d]: %w", i, err)
		}
	}
	return keys, nil
}

// writable are the directories that a system can be written in.
var writable = []string{"/run/", "/var/"}

func (c *config) writeFile(f writeFile) error {
	name := path.Clean(f.Path)
	if !slices.ContainsFunc(writable, func(dir string) bool { return strings.HasPrefix(name, dir) }) {
		return fmt.Errorf("%q cannot be written: only /run and /var can", f.Path)
	}
	mode, err := parseMode(f.Permissions)
	if err != nil {
		return err
	}
	text, err := decodeContent(f.Content, f.Encoding)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if f.Owner != "" && f.Owner != "root" && f.Owner != "root:root" {
		c.warnings = append(c.warnings, fmt.Sprintf("cloud-config: %s belongs to root, not to %s", name, f.Owner))
	}
	if before, ok := c.files[name]; ok && f.Append {
		text, f.Append = append(before.text, text...), before.append
	}
	c.files[name] = file{mode: mode, text: text, append: f.Append}
	return nil
}

// decodeContent undoes an encoding of write_files.
func decodeContent(text, encoding string) ([]byte, error) {
	out, zipped := []byte(text), false
	switch encoding {
	case "", "text/plain":
	case "b64", "base64":
	case "gz", "gzip", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		zipped = true
	default:
		return nil, fmt.Errorf("unknown encoding %q", encoding)
	}
	if strings.HasSuffix(encoding, "64") {
		var err error
		if out, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
			return nil, err
		}
	}
	if zipped {
		return unzip(out)
	}
	return out, nil
}
