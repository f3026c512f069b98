// Package cmdline reads the kernel's command line.
package cmdline

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Args are the parameters of a command line, in order, unquoted.
type Args []Arg

// Arg is one parameter, "name=value" or "name" alone.
type Arg struct {
	Name  string // as written; compare with [Same]
	Value string
}

// Read reads the command line the running kernel was given. /proc is mounted.
func Read() (Args, error) {
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's command line: %w", err)
	}
	return Parse(string(text)), nil
}

// Parse splits text as the kernel does: at blanks outside double quotes. What
// follows "--" is for the init and is taken alike.
func Parse(text string) Args {
	var out Args
	quoted := false
	fields := strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	})
	for _, f := range fields {
		name, value, _ := strings.Cut(strings.ReplaceAll(f, `"`, ""), "=")
		out = append(out, Arg{Name: name, Value: value})
	}
	return out
}

// Get is the value of the last parameter of that name, "" for none.
func (a Args) Get(name string) string {
	value := ""
	for _, arg := range a {
		if Same(arg.Name, name) {
			value = arg.Value
		}
	}
	return value
}

// Duration is a time that a parameter gives, in seconds or as "1m30s". It is
// otherwise where there is none, and with the error for what is no time.
func (a Args) Duration(name string, otherwise time.Duration) (time.Duration, error) {
	text := a.Get(name)
	if text == "" {
		return otherwise, nil
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return otherwise, fmt.Errorf("%s=%s is not a time such as 10 or 500ms; it is %v", name, text, otherwise)
	}
	return d, nil
}

// Same tells whether two names are one to the kernel, which reads "-" as "_".
func Same(a, b string) bool {
	return strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}
