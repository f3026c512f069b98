package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// banner is what stands above the prompt: what system this is, and where it can
// be reached.
func banner(tty string, insecure bool) string {
	var b strings.Builder
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	fmt.Fprintf(&b, "\n%s: %s on %s\n", host, system(), tty)
	for _, a := range addresses() {
		fmt.Fprintln(&b, a)
	}
	if insecure {
		b.WriteString("INSECURE: no password is asked for\n")
	}
	b.WriteString("\n")
	return b.String()
}

// system is the name of the system and of its kernel.
func system() string {
	name := "lkx"
	for _, dir := range []string{"/host", "/hostroot"} {
		if text, err := os.ReadFile(dir + "/etc/os-release"); err == nil {
			name = pretty(string(text), name)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return name
	}
	return fmt.Sprintf("%s, Linux %s, %s", name, unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
}

// pretty is PRETTY_NAME of os-release(5).
func pretty(text, otherwise string) string {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			return unquoted
		}
		return strings.Trim(value, "'")
	}
	return otherwise
}

// addresses are "eth0: 192.0.2.1/24 …", of each interface that has one with
// which others can reach it.
func addresses() []string {
	links, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []string
	for _, l := range links {
		list, err := l.Addrs()
		if err != nil {
			continue
		}
		text := l.Name + ":"
		for _, a := range list {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				text += " " + a.String()
			}
		}
		if text != l.Name+":" {
			out = append(out, text)
		}
	}
	return out
}
