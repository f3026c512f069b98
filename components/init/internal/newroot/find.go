package newroot

import (
	"errors"
	"fmt"
	"log"
	"time"
)

// Finder waits for a root file system to show up.
type Finder struct {
	Log     *log.Logger
	Load    func() error    // loads the modules for new devices
	Changed <-chan struct{} // tells that there may be some; nil for looking now and then alone
	system  system
}

// NewFinder is a finder of what is in /sys and /dev.
func NewFinder(logger *log.Logger, load func() error, changed <-chan struct{}) *Finder {
	return &Finder{Log: logger, Load: load, Changed: changed, system: system{"/sys", "/dev"}}
}

const (
	firstReminder = 5 * time.Second       // until it is said what is waited for; then after twice that
	recheck       = time.Second           // how often devices are looked at in any case
	breath        = 20 * time.Millisecond // at least between two looks
)

// Find waits for the device with the root file system w. The error of one that
// does not come says what there is instead, a device a line.
func (f *Finder) Find(w *Wanted) (*Device, error) {
	known := map[string]*Device{}
	started, reminder := time.Now(), firstReminder
	for {
		if err := f.Load(); err != nil {
			f.Log.Print(err)
		}
		list, err := f.system.devices(known)
		if err != nil {
			return nil, err
		}
		if d, others := choose(list, w); d != nil {
			for _, o := range others {
				f.Log.Printf("%v is also on %s; taking %s", w, o.Path, d.Path)
			}
			return d, nil
		}
		waited := time.Since(started)
		if waited >= w.Wait {
			return nil, missing(w, list)
		}
		if waited >= reminder {
			f.Log.Printf("waiting for the root file system %v, %v of %v by now", w, waited.Round(time.Second), w.Wait)
			reminder *= 2
		}
		time.Sleep(breath) // an empty drive tells of a change whenever it is looked at
		select {
		case <-f.Changed:
		case <-time.After(recheck):
		}
	}
}

// missing says what there is in place of w.
func missing(w *Wanted, list []*Device) error {
	text := fmt.Sprintf("the root file system %v was not found in %v; ", w, w.Wait)
	if len(list) == 0 {
		return errors.New(text + "there is no block device: a driver may be missing in the initrd")
	}
	text += "there are"
	for _, d := range list {
		text += "\n  " + d.String()
	}
	return errors.New(text)
}
