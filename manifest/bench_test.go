package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/source"
)

// BenchmarkCheck checks a manifest of 2,000 lines, as "lkx check" does.
func BenchmarkCheck(b *testing.B) {
	var text strings.Builder
	text.WriteString("kernel: {image: \"a/k:1\", cmdline: console=ttyS0}\nservices:\n")
	for i := 0; strings.Count(text.String(), "\n") < 2000; i++ {
		fmt.Fprintf(&text, "  - name: s%d\n    image: a/b:%d\n    env: [\"A=${TARGETARCH}\"]\n    binds:\n      - /a:/b\n    resources:\n      memory: {limit: %d}\n    readonly: true\n", i, i, i)
	}
	data := []byte(text.String())
	for b.Loop() {
		m, err := Parse(Options{Platform: "linux/amd64"}, &source.File{Name: "in.yml", Data: data})
		if err != nil || len(m.Services) < 200 {
			b.Fatal(err)
		}
	}
}
