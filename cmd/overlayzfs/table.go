package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

// column is one of a table. Scripts choose it by its name, people see its title.
type column struct {
	title  string
	number bool
}

// name is the title as --columns takes it: USED BY is used-by.
func (c column) name() string { return strings.ReplaceAll(strings.ToLower(c.title), " ", "-") }

// tableFlags are the flags of commands that print a table. Their short names and
// meanings are those of zfs list: -H, -p, -o.
type tableFlags struct {
	noHeader bool
	exact    bool
	columns  []string // all of them if empty
}

// register defines the flags for a table with these columns.
func (f *tableFlags) register(command *cobra.Command, columns []column) {
	known := make([]string, len(columns))
	for i, c := range columns {
		known[i] = c.name()
	}
	flags := command.Flags()
	flags.BoolVarP(&f.noHeader, "no-header", "H", false, "print no header, and a tab between columns")
	flags.BoolVarP(&f.exact, "exact", "p", false, "print exact numbers: bytes, and times as Unix seconds")
	flags.VarP(choice{&f.columns, known}, "columns", "o", "print these columns: "+strings.Join(known, ","))
}

// bytes is a size in bytes, for people or exact.
func (f tableFlags) bytes(n int64) string {
	if f.exact {
		return strconv.FormatInt(n, 10)
	}
	return bytesText(n)
}

// write prints the chosen columns of a table.
func (f tableFlags) write(w io.Writer, columns []column, rows []table.Row) error {
	var chosen []int
	for i := range columns {
		if len(f.columns) == 0 {
			chosen = append(chosen, i)
		}
	}
	for _, name := range f.columns {
		chosen = append(chosen, slices.IndexFunc(columns, func(c column) bool { return c.name() == name }))
	}
	if f.noHeader {
		return writeTabbed(w, chosen, rows)
	}
	header, right := table.Row{}, []string{}
	for _, i := range chosen {
		header = append(header, columns[i].title)
		if columns[i].number {
			right = append(right, columns[i].title)
		}
	}
	t := newTable(header, right...)
	for _, row := range rows {
		t.AppendRow(chooseCells(row, chosen))
	}
	return writeTable(w, t)
}

// writeTabbed prints rows for a script.
func writeTabbed(w io.Writer, chosen []int, rows []table.Row) error {
	for _, row := range rows {
		var cells []string
		for _, cell := range chooseCells(row, chosen) {
			cells = append(cells, fmt.Sprint(cell))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return nil
}

func chooseCells(row table.Row, chosen []int) (cells table.Row) {
	for _, i := range chosen {
		cells = append(cells, row[i])
	}
	return cells
}

// newTable makes a table without lines, as docker(1) prints them. Columns named
// in right hold numbers.
func newTable(header table.Row, right ...string) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(header)
	var columns []table.ColumnConfig
	for _, name := range right {
		columns = append(columns, table.ColumnConfig{Name: name, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.SuppressTrailingSpaces()
	return t
}

// writeTable prints a table and ends its last line.
func writeTable(w io.Writer, t table.Writer) error {
	_, err := io.WriteString(w, t.Render()+"\n")
	return err
}
