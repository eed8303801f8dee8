package vm

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed uml
var umlFiles embed.FS

// umlSpec is uml/uml.json: the packages that the User-Mode Linux kernel and its
// modules are built from.
type umlSpec struct {
	About string `json:"about"`
	// Known names the versions that this recipe is known to build.
	Known   string  `json:"known"`
	Sources Sources `json:"sources"`
	// Linux depends on the package with the kernel's source, and DKMS is the
	// package with the module's.
	Linux string `json:"linux"`
	DKMS  string `json:"dkms"`
	Build Root   `json:"build"`
}

func loadUMLSpec() (*umlSpec, error) {
	data, err := umlFiles.ReadFile("uml/uml.json")
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	spec := &umlSpec{}
	if err := decoder.Decode(spec); err != nil {
		return nil, fmt.Errorf("uml/uml.json: %w", err)
	}
	return spec, nil
}

// KernelVariable names a User-Mode Linux kernel other than the usual one: a file of
// uml/kernels, whose lines change uml/config.
const KernelVariable = "OZLAB_KERNEL"

// KernelNames lists the values of [KernelVariable].
func KernelNames() []string {
	files, err := umlFiles.ReadDir("uml/kernels")
	if err != nil {
		panic(err) // the directory is part of the program
	}
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = file.Name()
	}
	return names
}

func checkKernelName(name string) error {
	if name != "" && !slices.Contains(KernelNames(), name) {
		return fmt.Errorf("$%s: no kernel %q; there are: %s", KernelVariable, name, strings.Join(KernelNames(), ", "))
	}
	return nil
}

// umlConfig is the configuration of a kernel; the usual one has no name.
func umlConfig(kernel string) string {
	files := []string{"uml/config"}
	if kernel != "" {
		files = append(files, "uml/kernels/"+kernel)
	}
	var config strings.Builder
	for _, file := range files {
		data, err := umlFiles.ReadFile(file)
		if err != nil {
			panic(err) // embedded: a typing error in this package
		}
		config.Write(data)
	}
	return config.String()
}

// Names of the steps, which are directories of the User-Mode Linux cache.
const (
	stepUMLBuildRoot = "buildroot"
	stepUMLKernel    = "kernel"
)

// umlKernelStep names the step, and so the directory, of a kernel.
func umlKernelStep(kernel string) string {
	return strings.TrimSuffix(stepUMLKernel+"-"+kernel, "-")
}

// umlSteps is the recipe of a User-Mode Linux kernel, which all suites share.
func umlSteps(spec *umlSpec, kernel string) *step {
	buildRoot := &step{
		name: stepUMLBuildRoot, title: "compiler and kernel source", scratch: true,
		inputs: []any{spec.Sources, spec.Linux, spec.DKMS, spec.Build},
		run:    func(ctx context.Context, work *workspace) error { return makeUMLBuildRoot(ctx, work, spec) },
	}
	return &step{
		name: umlKernelStep(kernel), title: "User-Mode Linux and its ZFS modules", needs: []*step{buildRoot},
		inputs: []any{guestFile("build-uml"), umlConfig(kernel), guestFile("initramfs-init"), guestFile("probe-init")},
		run:    func(ctx context.Context, work *workspace) error { return makeUMLKernel(ctx, work, spec, kernel) },
	}
}

func makeUMLBuildRoot(ctx context.Context, work *workspace, spec *umlSpec) error {
	suite := &Suite{Sources: spec.Sources}
	// The package with the source has its version in its name.
	source := fmt.Sprintf(`$(apt-cache depends %s | grep -o "%[1]s-[0-9.]*$" | head -n 1)`, spec.Linux)
	return bootstrap(ctx, work, suite, spec.Build, filepath.Join(work.dir, "root"),
		append(slim, download("root", []string{source, spec.DKMS}))...)
}

func makeUMLKernel(ctx context.Context, work *workspace, spec *umlSpec, kernel string) error {
	root := filepath.Join(work.result(stepUMLBuildRoot), "root")
	files := map[string]string{"root/build-uml": guestFile("build-uml"), "root/config": umlConfig(kernel)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	if err := work.command(ctx, "unshare", "--mount", "sh", "-c", chrootWithProc, "sh", root, "/root/build-uml"); err != nil {
		return fmt.Errorf("%w (the lab knows to build %s, and tried %s)", err, spec.Known, sourcePackages(root))
	}
	out := filepath.Join(root, "root", "out")
	if err := work.command(ctx, "cp", filepath.Join(out, "linux"), work.dir); err != nil {
		return err
	}
	modules := filepath.Join(out, "modules", "lib", "modules")
	if err := makeDisk(ctx, work, modules, "modules.img", modulesImageSize); err != nil {
		return err
	}
	return writeUMLInitramfs(work.dir, filepath.Join(root, "usr", "bin", "busybox"))
}

// sourcePackages names the downloaded packages, versions included.
func sourcePackages(root string) string {
	var names []string
	for _, pattern := range []string{"linux-source-*.deb", "zfs-dkms_*.deb"} {
		found, _ := filepath.Glob(filepath.Join(root, "root", pattern))
		for _, name := range found {
			names = append(names, strings.TrimSuffix(filepath.Base(name), "_all.deb"))
		}
	}
	return strings.Join(names, " and ")
}

// writeUMLInitramfs makes the initramfs that finds the root disk, for which the
// kernel has all drivers, and the one of the probe.
func writeUMLInitramfs(dir, busybox string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	for name, init := range map[string]string{"initramfs": "initramfs-init", "probe": "probe-init"} {
		files := []initramfsFile{{"bin/busybox", program}, {"init", []byte(guestFile(init))}}
		if err := writeInitramfs(filepath.Join(dir, name), files); err != nil {
			return err
		}
	}
	return nil
}

// uml is the built User-Mode Linux, which boots the root disk of any suite.
type uml struct {
	kernel, initramfs, probe, modules string
}

// umlLab builds and keeps a User-Mode Linux kernel: the usual one, or one with a name.
type umlLab struct{ cache, kernel string }

// restrict returns the kind of machine that boots the kernel.
func (l umlLab) restrict(kind Kind) (Kind, error) {
	switch {
	case l.kernel == "":
		return kind, nil
	case kind == KindAuto || kind == KindUML:
		return KindUML, nil
	}
	return "", fmt.Errorf("$%s: %s is a kernel of User-Mode Linux, and the machine is %s", KernelVariable, l.kernel, kind)
}

func (l umlLab) built() uml {
	dir := filepath.Join(l.cache, umlKernelStep(l.kernel))
	return uml{
		kernel: filepath.Join(dir, "linux"), initramfs: filepath.Join(dir, "initramfs"),
		probe: filepath.Join(dir, "probe"), modules: filepath.Join(dir, "modules.img"),
	}
}

// isBuilt tells whether the cache holds the kernel that this recipe makes.
func (l umlLab) isBuilt() bool {
	spec, err := loadUMLSpec()
	return err == nil && umlSteps(spec, l.kernel).current(l.cache)
}

// build makes the kernel, or as much of it as the cache does not hold.
func (l umlLab) build(ctx context.Context, out io.Writer, progress *progress) error {
	spec, err := loadUMLSpec()
	if err != nil {
		return err
	}
	target := umlSteps(spec, l.kernel)
	return buildCached(ctx, l.cache, target, progress, "the User-Mode Linux kernel", func() error {
		args := buildArgs{what: umlCache, step: target.name, cache: l.cache}
		return buildAsRoot(ctx, args, out, func() error { return runSteps(ctx, l.cache, target, progress) })
	})
}
