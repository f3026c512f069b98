package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Nearest is a hint that names what of names is closest to name, or, when none
// is close, all of them if they are few.
func Nearest(name string, names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	if len(names) == 0 {
		return ""
	}
	best := slices.MinFunc(names, func(a, b string) int {
		return cmp.Compare(distance(name, a), distance(name, b))
	})
	if distance(name, best) <= max(1, len(name)/3) {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(names) <= 12 {
		return "there are: " + strings.Join(names, ", ")
	}
	return ""
}

// distance is the Levenshtein distance of a and b in bytes, capitals aside.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
