module github.com/lkx-os/lkx/components

go 1.26.8
