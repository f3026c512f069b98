package kmod

import "strings"

// normal is name with "-" as "_", which the kernel takes for one, except
// inside brackets, where "-" is a range.
func normal(name string) string {
	if !strings.Contains(name, "-") {
		return name
	}
	in := false
	return strings.Map(func(r rune) rune {
		switch {
		case r == '[':
			in = true
		case r == ']':
			in = false
		case r == '-' && !in:
			return '_'
		}
		return r
	}, name)
}

// match tells whether s matches pattern as fnmatch(3) without flags has it: "*"
// and "?" match "/" too. The patterns of modules.alias have no escapes.
func match(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			pattern = strings.TrimLeft(pattern, "*")
			for i := 0; i <= len(s); i++ {
				if match(pattern, s[i:]) {
					return true
				}
			}
			return false
		case '[':
			end := strings.IndexByte(pattern, ']')
			if end < 0 || s == "" || !inSet(pattern[1:end], s[0]) {
				return false
			}
			pattern, s = pattern[end+1:], s[1:]
		default:
			if s == "" || pattern[0] != '?' && pattern[0] != s[0] {
				return false
			}
			pattern, s = pattern[1:], s[1:]
		}
	}
	return s == ""
}

// inSet tells whether c is in what stands between brackets: "abc", "0-9", "!x".
func inSet(set string, c byte) bool {
	not := strings.HasPrefix(set, "!") || strings.HasPrefix(set, "^")
	if not {
		set = set[1:]
	}
	found := false
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			found = found || set[i] <= c && c <= set[i+2]
			i += 2
		} else {
			found = found || set[i] == c
		}
	}
	return found != not
}
