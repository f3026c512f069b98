package main

import (
	"fmt"
	"os"

	"github.com/lkx-os/lkx/runner"
)

// unpacked is how often its own size an initrd takes in memory, at most, when
// it is unpacked. The kernel lets it have half of the memory.
const unpacked = 4

// tooSmall warns of a machine that will hardly have the memory for its initrd.
// What the kernel says then, if anything, does not name the reason. It is "" for
// one that has enough, as far as can be told.
func tooSmall(m runner.Machine) string {
	info, err := os.Stat(m.Initrd)
	if m.Initrd == "" || err != nil {
		return "" // it is opened later, and missed then
	}
	const mib = 1 << 20
	need := 2 * unpacked * info.Size()
	if m.Memory >= need {
		return ""
	}
	return fmt.Sprintf("%d MiB of memory may be too little: the initrd of %d MiB takes up to %d times that when it is unpacked, and can have half of the memory; try --mem %dM",
		m.Memory/mib, info.Size()/mib, unpacked, (need/mib/64+1)*64)
}
