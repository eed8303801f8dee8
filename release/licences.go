package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// module is one that is linked into a program, with its licences.
type module struct {
	path, version string
	licences      []string          // by their SPDX names
	texts         map[string][]byte // files, by their path in the module
}

// listed is what go list says of a package.
type listed struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path string }
	}
}

// linked are all modules that are linked, on any architecture, and Go's own
// library.
func (r *release) linked(ctx context.Context) ([]module, error) {
	found := map[string]*module{}
	for _, arch := range r.arches {
		out, err := r.golang(ctx, arch, "list", "-deps", "-json=Dir,Standard,Module", "./cmd/...")
		if err != nil {
			return nil, err
		}
		if err := collect(found, out); err != nil {
			return nil, err
		}
	}
	std, err := r.standard(ctx)
	if err != nil {
		return nil, err
	}
	found[std.path] = std
	var all []module
	for _, path := range slices.Sorted(maps.Keys(found)) {
		m := found[path]
		if err := m.classify(); err != nil {
			return nil, err
		}
		all = append(all, *m)
	}
	return all, nil
}

// collect adds the modules of listed packages.
func collect(found map[string]*module, list []byte) error {
	for d := json.NewDecoder(bytes.NewReader(list)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		if p.Module.Replace != nil {
			return fmt.Errorf("%s is replaced by %s: a release is built of what others can get", p.Module.Path, p.Module.Replace.Path)
		}
		m := found[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, texts: map[string][]byte{}}
			found[m.path] = m
		}
		if err := m.gather(p.Module.Dir, p.Dir); err != nil {
			return err
		}
	}
}

// standard is Go's own library and runtime.
func (r *release) standard(ctx context.Context) (*module, error) {
	out, err := r.golang(ctx, r.arches[0], "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	m := &module{path: "std", version: strings.TrimPrefix(version, "go"), texts: map[string][]byte{}}
	return m, m.gather(root, root)
}

// legal is what files with licences are called.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents|unlicense)([._-].*)?$`)

// gather reads the licences that hold for a package: those beside it and above
// it, up to the module's directory.
func (m *module) gather(root, dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !legal.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			path := filepath.Join(dir, e.Name())
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if m.texts[rel], err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if dir == root || len(dir) <= len(root) {
			return nil
		}
	}
}

// permitted are the licences that what we publish may be under, too.
var permitted = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// besides are texts that are no licences of code: grants of patents, and how
// documentation is licensed.
var besides = []string{"GooglePatentClause", "GooglePatentsFile", "CC-BY-SA-4.0", "CC-BY-4.0"}

// classify finds out what the texts are. A module without a known licence may
// not be published, nor one with a licence that asks for more than to be named.
func (m *module) classify() error {
	found := map[string]bool{}
	for _, text := range m.texts {
		for _, match := range licensecheck.Scan(text).Match {
			if !match.IsURL && !slices.Contains(besides, match.ID) {
				found[match.ID] = true
			}
		}
	}
	m.licences = slices.Sorted(maps.Keys(found))
	if len(m.licences) == 0 {
		return fmt.Errorf("%s %s: no licence that is known, in %q", m.path, m.version, slices.Sorted(maps.Keys(m.texts)))
	}
	for _, licence := range m.licences {
		if !slices.Contains(permitted, licence) {
			return fmt.Errorf("%s %s is under %s: find out whether it may be linked, and say so in release/licences.go", m.path, m.version, licence)
		}
	}
	return nil
}

// licenceText is what has to accompany programs: who is in them, under what.
func licenceText(modules []module) []byte {
	var out bytes.Buffer
	fmt.Fprintln(&out, "The programs of overlayzfs contain the modules below; their licences follow.")
	fmt.Fprintln(&out)
	for _, m := range modules {
		fmt.Fprintf(&out, "%s %s: %s\n", m.path, m.version, strings.Join(m.licences, ", "))
	}
	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.texts)) {
			fmt.Fprintf(&out, "\n%s\n%s %s, %s\n\n%s\n", strings.Repeat("=", 78), m.path, m.version, name, bytes.TrimSpace(m.texts[name]))
		}
	}
	return out.Bytes()
}
