// Command benchreport makes one report of the races' measurements: the table on the
// terminal, build/bench/report.json, the plot and the generated part of the page, and the
// rows that are slower than in the last release.
//
// It exits with 0 when targets are missed, which is a result, and with 1 when a figure is
// missing.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
	"github.com/overlayzfs/overlayzfs/integration/bench/show"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

// outputs are the files of a report; an empty name writes none.
type outputs struct {
	report, page, readme, plot, release string
	partial                             bool // rows were chosen: targets on other rows do not count
}

func command() *cobra.Command {
	var to outputs
	var store bool
	cmd := &cobra.Command{
		Use:           "benchreport REPORT...",
		Short:         "Judge and show the measurements of races",
		Args:          cobra.MinimumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(_ *cobra.Command, files []string) error {
			r, err := merge(files)
			if err != nil {
				return err
			}
			if store {
				return r.WriteFile(to.release)
			}
			return to.publish(r)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&to.report, "report", "", "file for the merged report")
	flags.StringVar(&to.page, "page", "", "Markdown page whose generated part is written")
	flags.StringVar(&to.readme, "readme", "", "Markdown page whose generated part becomes a summary")
	flags.StringVar(&to.plot, "plot", "", "file for the plot, beside the page")
	flags.StringVar(&to.release, "release", "", "report of the last release")
	flags.BoolVar(&to.partial, "partial", false, "rows were chosen: leave out targets on other rows")
	flags.BoolVar(&store, "store", false, "only write the merged report to --release")
	return cmd
}

func merge(files []string) (*result.Report, error) {
	var reports []*result.Report
	for _, file := range files {
		r, err := result.ReadFile(file)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return result.Merge(reports...)
}

// publish writes and prints a report.
func (p outputs) publish(r *result.Report) error {
	if p.report != "" {
		if err := r.WriteFile(p.report); err != nil {
			return err
		}
	}
	show.WriteTable(os.Stdout, r)
	targets := judge.Targets()
	if p.partial {
		targets = judge.SelectTargets(r, targets)
	}
	verdicts := judge.Judge(r, targets)
	show.WriteVerdicts(os.Stdout, verdicts)
	if err := errors.Join(p.compare(r), p.document(r)); err != nil {
		return err
	}
	return checkComplete(r, verdicts)
}

func (p outputs) compare(r *result.Report) error {
	if p.release == "" {
		return nil
	}
	former, err := result.ReadFile(p.release)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println("There is no report of a release to compare with.")
		return nil
	}
	if err != nil {
		return err
	}
	show.WriteSlower(os.Stdout, former.Version, judge.SlowerThan(former, r))
	return nil
}

func (p outputs) document(r *result.Report) error {
	if p.plot != "" {
		if err := show.WritePlot(r, p.plot); err != nil {
			return fmt.Errorf("plot: %w", err)
		}
	}
	return errors.Join(splicePage(p.page, show.RenderMarkdown(r, filepath.Base(p.plot))), splicePage(p.readme, show.RenderSummary(r)))
}

// splicePage replaces the generated part of a page, if there is a page.
func splicePage(name, generated string) error {
	if name == "" {
		return nil
	}
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text, err := show.Splice(string(page), generated)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// checkComplete returns an error when a figure is missing.
func checkComplete(r *result.Report, verdicts []judge.Verdict) error {
	missing := 0
	for _, m := range r.Measurements {
		if m.Missing != "" {
			missing++
		}
	}
	for _, v := range verdicts {
		if v.State == judge.Unmeasured {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d figures are missing; the tables say which and why", missing)
	}
	return nil
}
