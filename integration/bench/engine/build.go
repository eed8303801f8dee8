package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const buildNote = "FROM an image of 7 MB and 400 files, 15 times COPY of a file of 1 KB, 5 times RUN of a program that writes a line; " +
	"nothing cached"

var (
	rowBuild = result.Row{
		ID: "engine.build.classic", Title: "20-step build, classic builder", Unit: result.Milliseconds, Group: group,
		Note: buildNote,
	}
	rowBuildDisk = diskRow(rowBuild)
	rowBuildKit  = result.Row{
		ID: "engine.build.buildkit", Title: "20-step build, BuildKit", Unit: result.Milliseconds, Group: group,
		Note: buildNote + "; the docker command included",
	}
)

func buildClassic(ctx context.Context, h *raceEngine, note sampleFunc) (err error) {
	files, err := makeContextTar()
	if err != nil {
		return err
	}
	before, err := readStableUsed(ctx, h.pool, h.dataset)
	if err != nil {
		return err
	}
	if err := h.measureRow(note, rowBuild, func() error { return h.build(ctx, builtImage, files) }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.removeImage(ctx, builtImage)) }()
	after, err := readUsed(ctx, h.pool, h.dataset)
	if err != nil {
		return err
	}
	note(rowBuildDisk, max(0, after-before))
	return nil
}

// buildBuildKit builds with the docker command, because BuildKit's protocol is more
// than a few calls.
func buildBuildKit(ctx context.Context, h *raceEngine, note sampleFunc) (err error) {
	dir, err := writeContext()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := syncPool(ctx, h.pool); err != nil {
		return err
	}
	cmd := h.Command("build", "--no-cache", "--network", "none", "-t", builtImage, dir)
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=1", "BUILDKIT_PROGRESS=plain")
	var out []byte
	err = h.measureRow(note, rowBuildKit, func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return fmt.Errorf("docker build: %w\n%s", err, out)
	}
	return errors.Join(h.removeImage(ctx, builtImage), h.pruneBuilds(ctx))
}

// writeContext writes the build context into a directory.
func writeContext() (string, error) {
	dir, err := os.MkdirTemp("", "context-")
	if err != nil {
		return "", err
	}
	for name, content := range makeBuildFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}
