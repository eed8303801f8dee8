package result

import (
	"slices"
	"sync"
)

// Shared is a report that is read while it is written.
type Shared struct {
	mu     sync.Mutex
	report Report
}

// NewShared starts with a report without measurements.
func NewShared(r Report) *Shared { return &Shared{report: r} }

// AddSample is Report.AddSample.
func (s *Shared) AddSample(row Row, contender string, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.AddSample(row, contender, value)
}

// SetMissing is Report.SetMissing.
func (s *Shared) SetMissing(row Row, contender, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.SetMissing(row, contender, why)
}

// HasSample reports whether a contender has a sample in a row.
func (s *Shared) HasSample(row, contender string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.report.SpreadOf(row, contender)
	return ok
}

// Snapshot returns a copy of the report.
func (s *Shared) Snapshot() *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Rows = slices.Clone(r.Rows)
	r.Measurements = slices.Clone(r.Measurements)
	for i := range r.Measurements {
		r.Measurements[i].Samples = slices.Clone(r.Measurements[i].Samples)
	}
	return &r
}
