package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// commands are the programs of a release.
var commands = []string{"overlayzfs", "overlayzfs-plugin", "overlayzfs-snapshotter"}

// program is a built command.
type program struct{ name, arch, path string }

// buildEnvironment returns the environment of a build. It overrides every variable that
// would change the bytes of a program.
func buildEnvironment(arch string) []string {
	return append(os.Environ(),
		"GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
}

// runGo runs a go command on the sources and returns its output.
func (r *release) runGo(ctx context.Context, arch string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = r.source, buildEnvironment(arch)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s for %s: %w\n%s", args[0], arch, err, complaint.Bytes())
	}
	return out.Bytes(), nil
}

// infoPackage holds version and commit of a program.
const infoPackage = "github.com/overlayzfs/overlayzfs/internal/buildinfo"

// compile builds all commands into dir.
func (r *release) compile(ctx context.Context, dir, arch string) ([]program, error) {
	var built []program
	for _, name := range commands {
		p := program{name, arch, filepath.Join(dir, name)}
		_, err := r.runGo(ctx, arch, "build", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w -X "+infoPackage+".version="+r.version+" -X "+infoPackage+".commit="+r.commit, "-o", p.path, "./cmd/"+name)
		if err != nil {
			return nil, err
		}
		built = append(built, p)
	}
	return built, nil
}

// shells are the shells with a completion.
var shells = []string{"bash", "zsh", "fish"}

// helper returns the path of the operator's command for this machine, which writes files of
// the release.
func helper(stage string) string { return filepath.Join(stage, "help", "overlayzfs") }

// buildHelp returns the manual pages and completions, which the operator's command
// writes. It builds the command for this machine's architecture, to run it.
func (r *release) buildHelp(ctx context.Context, stage string) (*tree, error) {
	overlayzfs := helper(stage)
	dir := filepath.Dir(overlayzfs)
	// Only this build writes pages: published programs link no Markdown renderer.
	if _, err := r.runGo(ctx, runtime.GOARCH, "build", "-tags", "man", "-trimpath", "-buildvcs=false", "-o", overlayzfs, "./cmd/overlayzfs"); err != nil {
		return nil, err
	}
	pages := filepath.Join(dir, "man")
	if _, err := r.runProgram(ctx, overlayzfs, "man", pages); err != nil {
		return nil, err
	}
	t := newTree()
	if err := t.addDir("man", pages); err != nil {
		return nil, err
	}
	for _, shell := range shells {
		text, err := r.runProgram(ctx, overlayzfs, "completion", shell)
		if err != nil {
			return nil, err
		}
		t.add("completion/overlayzfs."+shell, 0o644, text)
	}
	return t, nil
}

// runProgram runs a built program, and returns its output.
func (r *release) runProgram(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", filepath.Base(program), strings.Join(args, " "), err)
	}
	return out, nil
}
