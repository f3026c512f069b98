package main

import "fmt"

// Verdict holds one goal against what was measured.
type Verdict struct {
	What     string  `json:"what"`
	Goal     float64 `json:"goal"`     // at most
	Measured float64 `json:"measured"` // of the medians, in the same unit
	Best     float64 `json:"best"`     // of the fastest runs, which other programs disturb least
	Unit     string  `json:"unit"`
	Pass     bool    `json:"pass"`
}

// Goals of the project; see docs/benchmarks.md.
const (
	goalCold    = 1.3  // of the floor
	goalService = 0.25 // of warm
	goalCmdline = 0.1  // of warm
	goalNothing = 0.15 // seconds, over hashing the artifacts
	goalMemory  = 200  // MiB
	goalLinear  = 1.5  // of as many bytes in few images
	goalRoads   = 2    // of the local engine's time, with an empty build added
	goalSeconds = 900  // for all rows
)

// judge looks up rows by what they are of.
type judge struct {
	rows map[Row]Stats
	list []Verdict
}

// verdicts are all that the rows of a run of took seconds allow.
func verdicts(stats []Stats, format string, took float64) []Verdict {
	j := &judge{rows: map[Row]Stats{}}
	for _, s := range stats {
		j.rows[s.Row] = s
	}
	for _, w := range []string{minimal, node, examples} {
		local := func(state string) Row { return Row{w, format, engineLocal, state} }
		j.ratio(w+": cold / floor", goalCold, local(stateCold), Row{w, format, engineFloor, stateCold})
		if w == node {
			j.ratio(w+": one small service changed / warm", goalService, local(stateService), local(stateWarm))
			j.ratio(w+": command line changed / warm", goalCmdline, local(stateCmdline), local(stateWarm))
		}
		nothing, ok := j.rows[local(stateNothing)]
		hashing, also := j.rows[Row{w, format, engineFloor, stateNothing}]
		if ok && also {
			j.add(w+": nothing changed − hashing the artifacts", goalNothing, "s", func(t timeOf) float64 { return t(nothing) - t(hashing) })
			j.add(w+": nothing changed, artifacts rewritten", 0, "", func(timeOf) float64 { return map[bool]float64{false: 1}[nothing.Kept] })
		}
	}
	for _, s := range []string{stateCold, stateWarm} {
		j.ratio(fmt.Sprintf("60 images / the same bytes in 5, %s", s), goalLinear, Row{many60, format, engineLocal, s}, Row{many5, format, engineLocal, s})
	}
	j.roads(format)
	j.memory(stats)
	j.add("all of this run", goalSeconds, "s", func(timeOf) float64 { return took })
	return j.list
}

// ratio compares the medians of two rows, if both are there.
func (j *judge) ratio(what string, goal float64, a, b Row) {
	x, ok := j.rows[a]
	y, also := j.rows[b]
	if ok && also {
		j.add(what, goal, "×", func(t timeOf) float64 { return t(x) / t(y) })
	}
}

// timeOf is one of the times of a row: the median, or the shortest.
type timeOf func(Stats) float64

// add holds a figure to a goal. The medians decide.
func (j *judge) add(what string, goal float64, unit string, figure func(timeOf) float64) {
	measured := figure(func(s Stats) float64 { return s.Median })
	best := figure(func(s Stats) float64 { return s.Min })
	j.list = append(j.list, Verdict{what, goal, measured, best, unit, measured <= goal})
}

// roads compares the engines where one small service changed.
func (j *judge) roads(format string) {
	empty, ok := j.rows[emptyBuild]
	for _, w := range []string{minimal, node, examples} {
		local, l := j.rows[Row{w, format, engineLocal, stateService}]
		kit, k := j.rows[Row{w, format, engineBuildKit, stateService}]
		if !ok || !l || !k {
			continue
		}
		more := func(all, than Stats) func(timeOf) float64 {
			return func(t timeOf) float64 { return (t(all) - t(than)) / t(local) }
		}
		j.add(w+": one small service changed, (BuildKit − an empty build) / local", goalRoads, "×", more(kit, empty))
		if export, ok := j.rows[Row{w, format, engineBuildKit, stateExport}]; ok {
			j.add(w+": of this, a Dockerfile that exports the same files", goalRoads, "×", more(export, empty))
			j.add(w+": of this, the rest", goalRoads, "×", more(kit, export))
		}
	}
}

// memory finds the local row that takes most.
func (j *judge) memory(stats []Stats) {
	var most Stats
	for _, s := range stats {
		if s.Engine == engineLocal && s.Memory > most.Memory {
			most = s
		}
	}
	if most.Memory > 0 {
		j.add("most memory of lkx build ("+most.String()+")", goalMemory, "MiB", func(timeOf) float64 { return float64(most.Memory) / mib })
	}
}
