package main

import (
	"cmp"
	"slices"
)

// Stats sums up the samples of a row.
type Stats struct {
	Row
	Runs   int     `json:"runs"`
	Min    float64 `json:"min"`    // seconds
	Median float64 `json:"median"` // seconds
	Max    float64 `json:"max"`    // seconds
	CPU    float64 `json:"cpu"`    // seconds, the median
	Memory int64   `json:"memory"` // bytes, the most of all runs
	IO             // medians
	Kept   bool    `json:"kept,omitempty"` // nothing was written anew
}

// wide is the spread from which on a median says little.
const wide = 0.2

// spread is how far runs are from each other, as a part of the median: by the
// quarter of the runs below and above, so that one disturbed run does not tell.
func spread(samples []Sample) float64 {
	s := seconds(samples)
	if m := median(s); m > 0 {
		return (s[(len(s)-1)*3/4] - s[len(s)/4]) / m
	}
	return 0
}

func seconds(samples []Sample) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, s.Seconds)
	}
	slices.Sort(out)
	return out
}

// median is the middle of a list, or the lower of both middles.
func median[T cmp.Ordered](list []T) T {
	var zero T
	if len(list) == 0 {
		return zero
	}
	s := slices.Sorted(slices.Values(list))
	return s[(len(s)-1)/2]
}

// medianOf is the median of one figure of all samples.
func medianOf[T cmp.Ordered](samples []Sample, of func(Sample) T) T {
	var out []T
	for _, s := range samples {
		out = append(out, of(s))
	}
	return median(out)
}

func sumUp(row Row, samples []Sample, kept bool) Stats {
	s := seconds(samples)
	out := Stats{Row: row, Runs: len(s), Min: s[0], Median: median(s), Max: s[len(s)-1], Kept: kept}
	for _, x := range samples {
		out.Memory = max(out.Memory, x.Memory)
	}
	out.CPU = medianOf(samples, func(s Sample) float64 { return s.CPU })
	out.IO = IO{
		medianOf(samples, func(s Sample) int64 { return s.Read }),
		medianOf(samples, func(s Sample) int64 { return s.Written }),
		medianOf(samples, func(s Sample) int64 { return s.DiskRead }),
		medianOf(samples, func(s Sample) int64 { return s.DiskWrite }),
	}
	return out
}
