// Command schemagen writes what the manifest's Go types say for those who write
// manifests: manifest/schema.json, a JSON Schema for editors, and
// docs/manifest.md, the reference. It reads the source, not the compiled types,
// for the comments are half of it, and so that it runs when the package does
// not compile.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rootType is the type of a whole file.
const rootType = "Document"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	files, err := generate(root)
	if err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			return fmt.Errorf("writing what was generated: %w", err)
		}
	}
	return nil
}

// generate makes the generated files of the module at root, by their paths in it.
func generate(root string) (map[string][]byte, error) {
	m, err := readModel(filepath.Join(root, "manifest"), rootType)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest's types: %w", err)
	}
	schema, err := writeSchema(m)
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return map[string][]byte{
		"manifest/schema.json": schema,
		"docs/manifest.md":     writePage(m),
	}, nil
}

// moduleRoot is the nearest directory, from here upwards, with a go.mod: go
// generate starts programs in the package's directory, people in the module's.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = up
	}
}
