package result

import (
	"fmt"
	"math"
	"slices"
)

// Unit is the unit of a row's samples.
type Unit string

// Units of a row.
const (
	Milliseconds Unit = "ms"
	Bytes        Unit = "bytes"
	Count        Unit = "count"
	Factor       Unit = "times"
)

// The contenders. They run with sync=standard, the default, unless their name says
// otherwise.
const (
	Ours          = "overlayzfs"               // through the plugin's socket and moby's proxy, or a whole engine
	OursDisabled  = "overlayzfs sync=disabled" // the same on a dataset with sync=disabled
	OursInProcess = "overlayzfs in process"    // without a socket
	ZFS           = "zfs"                      // moby's
	Overlay2      = "overlay2"                 // moby's, on ZFS
	Overlay2Dis   = "overlay2 sync=disabled"   // moby's, on ZFS
	Overlay2Tmpfs = "overlay2 on tmpfs"        // a limit: no disk at all
	VFS           = "vfs"                      // moby's, on ZFS
	GNU           = "GNU tools"                // a limit: tar, find, rm

	Snapshotter          = "overlayzfs snapshotter"            // through its socket
	SnapshotterInProcess = "overlayzfs snapshotter in process" // without a socket
	ContainerdOverlayfs  = "containerd overlayfs"              // in process, on ZFS
	ContainerdZFS        = "containerd zfs"                    // in process
)

// Row is one question of the race.
type Row struct {
	ID    string `json:"id"` // for machines: dotted, lower case
	Title string `json:"title"`
	Unit  Unit   `json:"unit"`
	// Group is the table that shows the row.
	Group string `json:"group"`
	// Note says what a sample is, and which caches are warm.
	Note string `json:"note,omitempty"`
}

// Measurement is a contender's samples in a row.
type Measurement struct {
	Row       string    `json:"row"` // its ID
	Contender string    `json:"contender"`
	Samples   []float64 `json:"samples,omitempty"`
	// Missing says why samples are missing.
	Missing string `json:"missing,omitempty"`
}

// Machine describes the machine of the race.
type Machine struct {
	Kernel      string `json:"kernel"`
	OpenZFS     string `json:"openzfs"`
	CPUs        int    `json:"cpus"`
	MemoryMiB   int    `json:"memory_mib,omitempty"`
	Accelerator string `json:"accelerator,omitempty"` // "tcg": emulated
}

// Report is a whole race.
type Report struct {
	Version      string        `json:"version"` // of overlayzfs
	Date         string        `json:"date"`    // RFC 3339
	Machine      Machine       `json:"machine"`
	Rows         []Row         `json:"rows"`
	Measurements []Measurement `json:"measurements"`
}

// AddSample adds a sample, and the row with its first sample.
func (r *Report) AddSample(row Row, contender string, value float64) {
	m := r.measurement(row, contender)
	m.Samples = append(m.Samples, value)
}

// SetMissing records why a contender could not be measured in a row.
func (r *Report) SetMissing(row Row, contender, why string) {
	r.measurement(row, contender).Missing = why
}

func (r *Report) measurement(row Row, contender string) *Measurement {
	if _, known := r.Row(row.ID); !known {
		r.Rows = append(r.Rows, row)
	}
	if m := r.find(row.ID, contender); m != nil {
		return m
	}
	r.Measurements = append(r.Measurements, Measurement{Row: row.ID, Contender: contender})
	return &r.Measurements[len(r.Measurements)-1]
}

// Row is a question of the race.
func (r *Report) Row(id string) (Row, bool) {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.ID == id })
	if i < 0 {
		return Row{}, false
	}
	return r.Rows[i], true
}

// SpreadOf returns the spread of a contender's samples in a row, or false without
// samples.
func (r *Report) SpreadOf(row, contender string) (Spread, bool) {
	m := r.find(row, contender)
	if m == nil || len(m.Samples) == 0 {
		return Spread{}, false
	}
	return m.Spread(), true
}

func (r *Report) find(row, contender string) *Measurement {
	i := slices.IndexFunc(r.Measurements, func(m Measurement) bool { return m.Row == row && m.Contender == contender })
	if i < 0 {
		return nil
	}
	return &r.Measurements[i]
}

// Check returns an error when a report contradicts itself.
func (r *Report) Check() error {
	for i, row := range r.Rows {
		if row.ID == "" {
			return fmt.Errorf("row %d has no id", i)
		}
		if !slices.Contains([]Unit{Milliseconds, Bytes, Count, Factor}, row.Unit) {
			return fmt.Errorf("row %s: unknown unit %q", row.ID, row.Unit)
		}
		if slices.ContainsFunc(r.Rows[:i], func(o Row) bool { return o.ID == row.ID }) {
			return fmt.Errorf("row %s appears twice", row.ID)
		}
	}
	for i, m := range r.Measurements {
		if err := r.checkMeasurement(i, m); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) checkMeasurement(i int, m Measurement) error {
	if _, known := r.Row(m.Row); !known {
		return fmt.Errorf("measurement %d: unknown row %q", i, m.Row)
	}
	if m.Contender == "" {
		return fmt.Errorf("row %s: a measurement has no contender", m.Row)
	}
	if len(m.Samples) == 0 && m.Missing == "" {
		return fmt.Errorf("row %s: %s has neither samples nor a reason", m.Row, m.Contender)
	}
	for _, s := range m.Samples {
		if math.IsNaN(s) || math.IsInf(s, 0) || s < 0 {
			return fmt.Errorf("row %s: %s has the sample %v", m.Row, m.Contender, s)
		}
	}
	if slices.ContainsFunc(r.Measurements[:i], func(o Measurement) bool { return o.Row == m.Row && o.Contender == m.Contender }) {
		return fmt.Errorf("row %s: %s appears twice", m.Row, m.Contender)
	}
	return nil
}

// Merge merges reports of one race: rows by their ID, samples by row and contender.
// Version, date and machine are the first report's. Rows that differ under one ID are
// an error.
func Merge(reports ...*Report) (*Report, error) {
	merged := &Report{}
	for i, r := range reports {
		if i == 0 {
			merged.Version, merged.Date, merged.Machine = r.Version, r.Date, r.Machine
		}
		if err := merged.add(r); err != nil {
			return nil, err
		}
	}
	return merged, merged.Check()
}

func (r *Report) add(other *Report) error {
	for _, row := range other.Rows {
		known, ok := r.Row(row.ID)
		if ok && known != row {
			return fmt.Errorf("row %s differs between reports: %+v, %+v", row.ID, known, row)
		}
		if !ok {
			r.Rows = append(r.Rows, row)
		}
	}
	for _, m := range other.Measurements {
		row, ok := r.Row(m.Row)
		if !ok {
			return fmt.Errorf("a measurement of the unknown row %q", m.Row)
		}
		into := r.measurement(row, m.Contender)
		into.Samples = append(into.Samples, m.Samples...)
		if m.Missing != "" {
			into.Missing = m.Missing
		}
	}
	return nil
}
