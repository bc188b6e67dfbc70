# Lines "BOARDS SPEED_UP" to an SVG chart of the scaling curve; -v title=TEXT -v first=BOARDS: whose speed is 1.
function x(n) { return left + width * log(n) / log(most) }
function y(s) { return top + height * (1 - log(s) / log(most)) }
BEGIN { left = 60; top = 50; width = 480; height = 360; most = 1 }
{ n[NR] = $1; s[NR] = $2; if ($1 > most) most = $1 }
END {
    if (most == 1) most = 2
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 600 480\" font-family=\"sans-serif\" font-size=\"13\">\n"
    printf "<rect width=\"600\" height=\"480\" fill=\"white\"/>\n<text x=\"%d\" y=\"28\" font-size=\"15\">%s</text>\n", left, title
    for (i = 1; i <= most; i *= 2) {
        printf "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#ddd\"/>", x(i), top, x(i), top + height
        printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x(i), top + height + 18, i
        printf "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>", left, y(i), left + width, y(i)
        printf "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n", left - 8, y(i) + 4, i
    }
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">boards</text>\n", left + width / 2, top + height + 40
    printf "<text x=\"18\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 18 %d)\">times %s</text>\n",
        top + height / 2, top + height / 2, (first > 1 ? first " boards" : "one board")
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>\n", x(1), y(1), x(most), y(most)
    for (i = 1; i <= NR; i++) points = points sprintf("%.1f,%.1f ", x(n[i]), y(s[i] > 1 ? s[i] : 1))
    printf "<polyline points=\"%s\" fill=\"none\" stroke=\"#0b66c3\" stroke-width=\"2\"/>\n", points
    for (i = 1; i <= NR; i++)
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#0b66c3\"/><text x=\"%.1f\" y=\"%.1f\">%.2f</text>\n", x(n[i]),
            y(s[i] > 1 ? s[i] : 1), x(n[i]) + 8, y(s[i] > 1 ? s[i] : 1) + 16, s[i]
    print "</svg>"
}
