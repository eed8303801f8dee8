package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Read reads a report and refuses unknown fields.
func Read(from io.Reader) (*Report, error) {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	r := &Report{}
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode report: there is more after it")
	}
	return r, r.Check()
}

// Write writes a report that Read takes.
func (r *Report) Write(to io.Writer) error {
	if err := r.Check(); err != nil {
		return err
	}
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// ReadFile reads the report in a file.
func ReadFile(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// WriteFile writes the report to a file.
func (r *Report) WriteFile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(r.Write(f), f.Close())
}
