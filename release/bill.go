package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"slices"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// writeBill writes the bill of materials as CycloneDX: the programs, and the modules
// that each was linked from, as the program's own build information has them.
func (r *release) writeBill(programs []program, linked []module) error {
	b := cdx.NewBOM()
	root := cdx.Component{
		Type: cdx.ComponentTypeApplication, BOMRef: "overlayzfs", Name: "overlayzfs", Version: r.version,
		Description: "Container layers on ZFS", Licenses: licenceChoices("Apache-2.0"), PackageURL: "pkg:golang/github.com/overlayzfs/overlayzfs@" + r.version,
		Properties: &[]cdx.Property{{Name: "commit", Value: r.commit}},
	}
	b.Metadata = &cdx.Metadata{Timestamp: r.time.Format(time.RFC3339), Component: &root}
	var components []cdx.Component
	for _, m := range linked {
		components = append(components, moduleComponent(m))
	}
	whole := cdx.Dependency{Ref: root.BOMRef}
	var dependencies []cdx.Dependency
	for _, p := range programs {
		built, uses, err := r.programComponent(p, linked)
		if err != nil {
			return err
		}
		components = append(components, built)
		dependencies = append(dependencies, cdx.Dependency{Ref: built.BOMRef, Dependencies: &uses})
		whole.Dependencies = appendItem(whole.Dependencies, built.BOMRef)
	}
	dependencies = append([]cdx.Dependency{whole}, dependencies...)
	b.Components, b.Dependencies = &components, &dependencies
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(b, cdx.SpecVersion1_6); err != nil {
		return err
	}
	return r.writeFile(r.fileName("sbom.cdx.json"), out.Bytes())
}

func appendItem(list *[]string, item string) *[]string {
	if list == nil {
		return &[]string{item}
	}
	longer := append(*list, item)
	return &longer
}

func moduleComponent(m module) cdx.Component {
	return cdx.Component{
		Type: cdx.ComponentTypeLibrary, BOMRef: packageURL(m), Name: m.path, Version: m.version, PackageURL: packageURL(m), Licenses: licenceChoices(m.licences...),
	}
}

func packageURL(m module) string { return "pkg:golang/" + m.path + "@" + m.version }

func licenceChoices(names ...string) *cdx.Licenses {
	var all cdx.Licenses
	for _, name := range names {
		all = append(all, cdx.LicenseChoice{License: &cdx.License{ID: name}})
	}
	return &all
}

// programComponent returns a program as a component, and the package URLs of the
// modules in it. It fails when the program holds a module that is not in linked.
func (r *release) programComponent(p program, linked []module) (cdx.Component, []string, error) {
	info, err := buildinfo.ReadFile(p.path)
	if err != nil {
		return cdx.Component{}, nil, err
	}
	c := cdx.Component{
		Type: cdx.ComponentTypeApplication, BOMRef: p.name + "/linux/" + p.arch, Name: p.name, Version: r.version,
		Licenses: licenceChoices("Apache-2.0"), Properties: &[]cdx.Property{{Name: "architecture", Value: p.arch}},
	}
	std := slices.IndexFunc(linked, func(m module) bool { return m.path == "std" })
	uses := []string{packageURL(linked[std])}
	for _, dep := range info.Deps {
		m := module{path: dep.Path, version: dep.Version}
		if !slices.ContainsFunc(linked, func(l module) bool { return l.path == m.path && l.version == m.version }) {
			return c, nil, fmt.Errorf("%s for %s holds %s %s, which go list does not list", p.name, p.arch, m.path, m.version)
		}
		uses = append(uses, packageURL(m))
	}
	slices.Sort(uses)
	return c, uses, nil
}
