// Package lkx holds no code: see ARCHITECTURE.md, and arch_test.go beside it.
package lkx
