# SPDX-License-Identifier: Apache-2.0
#
# The picture of the clone experiment; clones_report.py sets data, picture, columns and the names on the x axis.
# One point for each vCPU of each machine. Logarithmic, with room for 0 at the bottom.
set terminal svg size 1200,860 font "sans-serif,11" background "white"
set output picture
set datafile separator tab
set key off
set xrange [-0.6:columns - 0.4]
set grid ytics linecolor rgb "#dddddd"
set border 3 linecolor rgb "#666666"
set tics nomirror
set multiplot layout 2,1
set bmargin 5
kind(variant) = variant[1:5] eq "qemu-" ? variant[6:] : variant
colour(variant) = kind(variant) eq "none" ? 0xb2182b : substr(kind(variant), 1, 2) eq "vm" || kind(variant) eq "same-id" ? 0xd6804d : kind(variant) eq "module" ? 0x8073ac : 0x1b7837

set nonlinear y via log10(1 + y) inverse 10**y - 1
set title "Results that another machine got, too, for each vCPU"
set yrange [-0.3:200000]
set ytics ("0" 0, "1" 1, "10" 10, "100" 100, "1,000" 1000, "10,000" 10000, "100,000" 100000)
plot data using 2:3:(colour(strcol(1))) every ::1 with points pointtype 7 pointsize 0.4 linecolor rgb variable

set title "Guest time from the resume to the last of them, milliseconds"
set yrange [-0.3:20000]
set ytics ("0" 0, "1" 1, "10" 10, "100" 100, "1,000" 1000, "10,000" 10000)
plot data using 2:4:(colour(strcol(1))) every ::1 with points pointtype 7 pointsize 0.4 linecolor rgb variable
unset multiplot
