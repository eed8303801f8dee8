package result

import (
	"slices"
	"sync"
)

// Shared is a report that is written to while it is read.
type Shared struct {
	mu     sync.Mutex
	report Report
}

// NewShared starts with what is known before anything was measured.
func NewShared(r Report) *Shared { return &Shared{report: r} }

// AddSample is Report.Sample.
func (s *Shared) AddSample(row Row, contender string, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.AddSample(row, contender, value)
}

// SetMissing is Report.Miss.
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

// Snapshot is the report as it is.
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
