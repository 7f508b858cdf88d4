// Written by `npm run build` in web/. Do not edit.
&[
]
